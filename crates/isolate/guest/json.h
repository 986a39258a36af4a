/* The quick way through JSON.stringify, included at the end of quickjs.c (build/edits.rs).

   Functions pass all their data to the host as JSON, and nearly all of it is plain: objects and arrays as literals make
   them, whose properties are values. For these nothing of what the language allows in between (replacers, `toJSON`,
   getters, proxies) can happen, so the text is written in one pass over shapes and values. Whatever is not plain makes
   the pass give up; it has run no code by then, and the usual way begins anew.

   A long text is a rope of segments: long strings that need no escapes are parts of it as they are, and no buffer is
   copied as it grows. So a result with 16 MiB of bytes, 22 MB as base64, fits into a call's memory beside them. */

typedef enum { JSON_WRITTEN, JSON_NOT_PLAIN, JSON_FAILED } JSONPlain;

#define JSON_PLAIN_DEPTH_MAX 64

/* A string of so many characters becomes a part of the text as it is; a segment that is longer is closed. */
#define JSON_PART_CHARS_MIN 2048
#define JSON_SEGMENT_CHARS 262144

typedef struct {
    StringBuffer buffer; /* the segment that is being written */
    JSValue before;      /* the closed ones, or undefined */
} JSONText;

/* Whether the object has no property of this name itself; its prototypes are not looked at. */
static bool json_lacks(JSObject *p, JSAtom name)
{
    JSProperty *property;
    return !find_own_property(&property, p, name);
}

static int json_append(JSONText *t, JSValue part)
{
    JSContext *ctx = t->buffer.ctx;

    if (!JS_IsException(part))
        t->before = JS_IsUndefined(t->before) ? part : js_new_string_rope(ctx, t->before, part);
    else
        JS_FreeValue(ctx, t->before);
    if (!JS_IsException(part) && !JS_IsException(t->before))
        return 0;
    t->before = JS_UNDEFINED;
    return -1;
}

/* Closes the segment and begins another one. */
static int json_close_segment(JSONText *t)
{
    JSContext *ctx = t->buffer.ctx;

    if (json_append(t, string_buffer_end(&t->buffer))) {
        t->buffer.str = NULL;
        return -1;
    }
    return string_buffer_init(ctx, &t->buffer, 128);
}

static int json_write_quoted(JSONText *t, JSString *text, bool may_share)
{
    StringBuffer *b = &t->buffer;
    const uint8_t *bytes, *run, *end;

    if (b->len >= JSON_SEGMENT_CHARS && json_close_segment(t))
        return -1;
    if (text->is_wide_char)
        return string_buffer_concat_value_free(b, JS_ToQuotedString(b->ctx, JS_MKPTR(JS_TAG_STRING, text)));
    bytes = str8(text);
    end = bytes + text->len;
    if (may_share && text->len >= JSON_PART_CHARS_MIN) {
        while (bytes < end && *bytes >= 32 && *bytes != '"' && *bytes != '\\')
            bytes++;
        if (bytes == end)
            return string_buffer_putc8(b, '"') || json_close_segment(t) ||
                   json_append(t, js_dup(JS_MKPTR(JS_TAG_STRING, text))) || string_buffer_putc8(b, '"') ? -1 : 0;
        bytes = str8(text);
    }
    if (string_buffer_putc8(b, '"'))
        return -1;
    for (run = bytes; bytes < end; bytes++) {
        static const char names[] = "btn?fr";
        char escape[7] = {'\\'};
        int length = 2;

        if (*bytes >= 32 && *bytes != '"' && *bytes != '\\')
            continue;
        if (*bytes >= 32)
            escape[1] = *bytes;
        else if (*bytes >= 8 && *bytes <= 13 && *bytes != 11)
            escape[1] = names[*bytes - 8];
        else
            length = snprintf(escape, sizeof(escape), "\\u%04x", *bytes);
        if (string_buffer_write8(b, run, bytes - run) ||
            string_buffer_write8(b, (const uint8_t *)escape, length))
            return -1;
        run = bytes + 1;
    }
    return string_buffer_write8(b, run, end - run) || string_buffer_putc8(b, '"') ? -1 : 0;
}

static JSONPlain json_write_plain(JSContext *ctx, JSONText *t, JSValueConst value, int depth);

static JSONPlain json_write_array(JSContext *ctx, JSONText *t, JSObject *p, int depth)
{
    StringBuffer *b = &t->buffer;
    uint32_t i;

    /* Only `length`, which is the first property and may have been set to more than there is. */
    if (!p->fast_array || p->shape->prop_count != 1 ||
        JS_VALUE_GET_TAG(p->prop[0].u.value) != JS_TAG_INT ||
        JS_VALUE_GET_INT(p->prop[0].u.value) != p->u.array.count)
        return JSON_NOT_PLAIN;
    if (string_buffer_putc8(b, '['))
        return JSON_FAILED;
    for (i = 0; i < p->u.array.count; i++) {
        JSValueConst element = p->u.array.u.values[i];
        JSONPlain written;
        if (i > 0 && string_buffer_putc8(b, ','))
            return JSON_FAILED;
        written = json_write_plain(ctx, t, JS_IsUndefined(element) ? JS_NULL : element, depth);
        if (written != JSON_WRITTEN)
            return written;
    }
    return string_buffer_putc8(b, ']') ? JSON_FAILED : JSON_WRITTEN;
}

static JSONPlain json_write_object(JSContext *ctx, JSONText *t, JSObject *p, int depth)
{
    StringBuffer *b = &t->buffer;
    JSShapeProperty *properties = get_shape_prop(p->shape);
    bool has_content = false;
    int i;

    if (p->is_exotic || string_buffer_putc8(b, '{'))
        return p->is_exotic ? JSON_NOT_PLAIN : JSON_FAILED;
    for (i = 0; i < p->shape->prop_count; i++) {
        JSShapeProperty *property = &properties[i];
        JSAtomStruct *name;
        JSONPlain written;

        if (property->atom == JS_ATOM_NULL)
            continue;
        /* Names that are numbers go first, in their order; symbols are left out. */
        if (__JS_AtomIsTaggedInt(property->atom) || property->atom == JS_ATOM_toJSON ||
            (property->flags & (JS_PROP_TMASK | JS_PROP_ENUMERABLE)) != JS_PROP_ENUMERABLE)
            return JSON_NOT_PLAIN;
        name = ctx->rt->atom_array[property->atom];
        if (name->atom_type != JS_ATOM_TYPE_STRING ||
            (name->len > 0 && is_digit(name->is_wide_char ? str16(name)[0] : str8(name)[0])))
            return JSON_NOT_PLAIN;
        if (JS_IsUndefined(p->prop[i].u.value))
            continue;
        if (has_content && string_buffer_putc8(b, ','))
            return JSON_FAILED;
        has_content = true;
        if (json_write_quoted(t, name, false) || string_buffer_putc8(b, ':'))
            return JSON_FAILED;
        written = json_write_plain(ctx, t, p->prop[i].u.value, depth);
        if (written != JSON_WRITTEN)
            return written;
    }
    return string_buffer_putc8(b, '}') ? JSON_FAILED : JSON_WRITTEN;
}

static JSONPlain json_write_plain(JSContext *ctx, JSONText *t, JSValueConst value, int depth)
{
    StringBuffer *b = &t->buffer;
    JSONPlain written;
    char digits[16];
    JSObject *p;

    switch (JS_VALUE_GET_NORM_TAG(value)) {
    case JS_TAG_STRING:
        return json_write_quoted(t, JS_VALUE_GET_STRING(value), true) ? JSON_FAILED : JSON_WRITTEN;
    case JS_TAG_STRING_ROPE: {
        JSValue flat = js_linearize_string_rope(ctx, value);
        if (JS_IsException(flat))
            return JSON_FAILED;
        written = json_write_quoted(t, JS_VALUE_GET_STRING(flat), true) ? JSON_FAILED : JSON_WRITTEN;
        JS_FreeValue(ctx, flat);
        return written;
    }
    case JS_TAG_INT:
        return string_buffer_write8(b, (const uint8_t *)digits, i32toa(digits, JS_VALUE_GET_INT(value)))
                   ? JSON_FAILED : JSON_WRITTEN;
    case JS_TAG_FLOAT64:
        if (!isfinite(JS_VALUE_GET_FLOAT64(value)))
            value = JS_NULL;
        /* fallthrough */
    case JS_TAG_BOOL:
    case JS_TAG_NULL:
        return string_buffer_concat_value(b, value) ? JSON_FAILED : JSON_WRITTEN;
    case JS_TAG_OBJECT:
        /* A cycle goes deeper than any limit; the usual way says so. */
        if (depth == JSON_PLAIN_DEPTH_MAX)
            return JSON_NOT_PLAIN;
        p = JS_VALUE_GET_OBJ(value);
        if (p->class_id == JS_CLASS_OBJECT &&
            (!p->shape->proto || p->shape->proto == JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_OBJECT])))
            return json_write_object(ctx, t, p, depth + 1);
        if (p->class_id == JS_CLASS_ARRAY &&
            p->shape->proto == JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_ARRAY]))
            return json_write_array(ctx, t, p, depth + 1);
        return JSON_NOT_PLAIN;
    default:
        return JSON_NOT_PLAIN;
    }
}

/* JSON.stringify of `value` alone: its text, or undefined if the usual way must be gone. */
static JSValue json_stringify_plain(JSContext *ctx, JSValueConst value)
{
    JSObject *object_prototype = JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_OBJECT]);
    JSObject *array_prototype = JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_ARRAY]);
    JSONText text, *t = &text;
    JSONPlain written;

    if (!JS_IsObject(value) || !json_lacks(object_prototype, JS_ATOM_toJSON) || object_prototype->shape->proto ||
        !json_lacks(array_prototype, JS_ATOM_toJSON) || array_prototype->shape->proto != object_prototype)
        return JS_UNDEFINED;
    t->before = JS_UNDEFINED;
    if (string_buffer_init(ctx, &t->buffer, 128))
        return JS_EXCEPTION;
    written = json_write_plain(ctx, t, value, 0);
    if (written == JSON_WRITTEN) {
        JSValue last = string_buffer_end(&t->buffer);
        if (JS_IsUndefined(t->before))
            return last;
        return json_append(t, last) ? JS_EXCEPTION : t->before;
    }
    string_buffer_free(&t->buffer);
    JS_FreeValue(ctx, t->before);
    return written == JSON_FAILED ? JS_EXCEPTION : JS_UNDEFINED;
}

/* Hands a string's UTF-8 to `take`, in parts if it is a rope of such parts: without a copy of the whole. */
int JS_ReadParts(JSContext *ctx, JSValueConst value, uint32_t chars_max, void (*take)(const char *bytes, size_t length))
{
    JSStringRopeIter parts;
    JSString *part;
    JSStringRope *rope = JS_VALUE_GET_STRING_ROPE(value);
    bool is_rope = JS_VALUE_GET_TAG(value) == JS_TAG_STRING_ROPE && !rope->is_wide_char && rope->len <= chars_max;
    size_t length;
    const char *bytes;

    if (!is_rope) {
        bytes = JS_ToCStringLen(ctx, &length, value);
        if (!bytes)
            return -1;
        take(bytes, length);
        JS_FreeCString(ctx, bytes);
        return 0;
    }
    string_rope_iter_init(&parts, value);
    while ((part = string_rope_iter_next(&parts))) {
        bytes = JS_ToCStringLen(ctx, &length, JS_MKPTR(JS_TAG_STRING, part));
        if (!bytes)
            return -1;
        take(bytes, length);
        JS_FreeCString(ctx, bytes);
    }
    return 0;
}
