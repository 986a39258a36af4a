/* The quick way through JSON.stringify, included at the end of quickjs.c (build/edits.rs).

   Functions pass all their data to the host as JSON, and nearly all of it is plain: objects and arrays as literals make
   them, whose properties are values. For these nothing of what the language allows in between (replacers, `toJSON`,
   getters, proxies) can happen, so the text is written in one pass over shapes and values. Whatever is not plain makes
   the pass give up; it has run no code by then, and the usual way begins anew. */

typedef enum { JSON_WRITTEN, JSON_NOT_PLAIN, JSON_FAILED } JSONPlain;

#define JSON_PLAIN_DEPTH_MAX 64

/* Whether the object has no property of this name itself; its prototypes are not looked at. */
static bool json_lacks(JSObject *p, JSAtom name)
{
    JSProperty *property;
    return !find_own_property(&property, p, name);
}

static int json_write_quoted(StringBuffer *b, JSString *text)
{
    const uint8_t *bytes, *run, *end;

    if (text->is_wide_char)
        return string_buffer_concat_value_free(b, JS_ToQuotedString(b->ctx, JS_MKPTR(JS_TAG_STRING, text)));
    bytes = str8(text);
    end = bytes + text->len;
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

static JSONPlain json_write_plain(JSContext *ctx, StringBuffer *b, JSValueConst value, int depth);

static JSONPlain json_write_array(JSContext *ctx, StringBuffer *b, JSObject *p, int depth)
{
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
        written = json_write_plain(ctx, b, JS_IsUndefined(element) ? JS_NULL : element, depth);
        if (written != JSON_WRITTEN)
            return written;
    }
    return string_buffer_putc8(b, ']') ? JSON_FAILED : JSON_WRITTEN;
}

static JSONPlain json_write_object(JSContext *ctx, StringBuffer *b, JSObject *p, int depth)
{
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
        if (json_write_quoted(b, name) || string_buffer_putc8(b, ':'))
            return JSON_FAILED;
        written = json_write_plain(ctx, b, p->prop[i].u.value, depth);
        if (written != JSON_WRITTEN)
            return written;
    }
    return string_buffer_putc8(b, '}') ? JSON_FAILED : JSON_WRITTEN;
}

static JSONPlain json_write_plain(JSContext *ctx, StringBuffer *b, JSValueConst value, int depth)
{
    char digits[16];
    JSObject *p;

    switch (JS_VALUE_GET_NORM_TAG(value)) {
    case JS_TAG_STRING:
        return json_write_quoted(b, JS_VALUE_GET_STRING(value)) ? JSON_FAILED : JSON_WRITTEN;
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
            return json_write_object(ctx, b, p, depth + 1);
        if (p->class_id == JS_CLASS_ARRAY &&
            p->shape->proto == JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_ARRAY]))
            return json_write_array(ctx, b, p, depth + 1);
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
    StringBuffer buffer, *b = &buffer;
    JSONPlain written;

    if (!JS_IsObject(value) || !json_lacks(object_prototype, JS_ATOM_toJSON) || object_prototype->shape->proto ||
        !json_lacks(array_prototype, JS_ATOM_toJSON) || array_prototype->shape->proto != object_prototype)
        return JS_UNDEFINED;
    if (string_buffer_init(ctx, b, 128))
        return JS_EXCEPTION;
    written = json_write_plain(ctx, b, value, 0);
    if (written == JSON_WRITTEN)
        return string_buffer_end(b);
    string_buffer_free(b);
    return written == JSON_FAILED ? JS_EXCEPTION : JS_UNDEFINED;
}
