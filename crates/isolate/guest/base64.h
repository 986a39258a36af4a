/* The library's base64 in C, included at the end of quickjs.c (build/edits.rs).

   Bytes travel as base64 in JSON, which the published library makes in JavaScript: `fromByteArray` and `toByteArray` of
   the package base64-js, whose text it contains. In the interpreter 16 MiB of them take many seconds, and more memory than
   a call has. Before the image is sealed, these functions are found by their form, held against examples, and given a
   body in C. What that does not handle (lists that are no Uint8Array, texts that are not quite base64) goes on to the
   function as it was written. */

static const char base64_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The value of a letter, those of URLs included; 255 of all else. */
static uint8_t base64_values[256];

/* The bytes of a plain Uint8Array of fixed size. */
static bool base64_bytes_of(JSContext *ctx, JSValueConst value, const uint8_t **bytes, uint32_t *length)
{
    JSObject *p;

    if (!JS_IsObject(value))
        return false;
    p = JS_VALUE_GET_OBJ(value);
    if (p->class_id != JS_CLASS_UINT8_ARRAY || p->shape->prop_count != 0 || p->u.array.u1.typed_array->track_rab ||
        p->shape->proto != JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_UINT8_ARRAY]))
        return false;
    *bytes = p->u.array.u.uint8_ptr;
    *length = p->u.array.count;
    return true;
}

/* fromByteArray(bytes): their base64, with padding */
static JSValue base64_encode(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv, int magic,
                             JSValueConst *data)
{
    const uint8_t *from, *end;
    uint32_t length;
    JSString *text;
    uint8_t *to;

    if (!base64_bytes_of(ctx, argv[0], &from, &length) || length > JS_STRING_LEN_MAX / 4 * 3 - 3)
        return JS_Call(ctx, data[0], this_value, argc, argv);
    if (length == 0)
        return js_empty_string(ctx->rt);
    text = js_alloc_string(ctx, (length + 2) / 3 * 4, 0);
    if (!text)
        return JS_EXCEPTION;
    to = str8(text);
    for (end = from + length; end - from >= 3; from += 3) {
        uint32_t bits = from[0] << 16 | from[1] << 8 | from[2];
        *to++ = base64_letters[bits >> 18];
        *to++ = base64_letters[bits >> 12 & 63];
        *to++ = base64_letters[bits >> 6 & 63];
        *to++ = base64_letters[bits & 63];
    }
    if (from < end) {
        uint32_t bits = from[0] << 16 | (end - from == 2 ? from[1] << 8 : 0);
        *to++ = base64_letters[bits >> 18];
        *to++ = base64_letters[bits >> 12 & 63];
        *to++ = end - from == 2 ? base64_letters[bits >> 6 & 63] : '=';
        *to++ = '=';
    }
    *to = 0;
    return JS_MKPTR(JS_TAG_STRING, text);
}

/* toByteArray(text): a Uint8Array */
static JSValue base64_decode(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv, int magic,
                             JSValueConst *data)
{
    const uint8_t *from, *end;
    uint8_t *bytes, *to, invalid = 0;
    uint32_t length, padding;
    JSString *text;

    if (JS_VALUE_GET_TAG(argv[0]) != JS_TAG_STRING)
        goto as_written;
    text = JS_VALUE_GET_STRING(argv[0]);
    if (text->is_wide_char || text->len == 0 || text->len % 4 != 0)
        goto as_written;
    from = str8(text);
    padding = from[text->len - 1] != '=' ? 0 : from[text->len - 2] != '=' ? 1 : 2;
    length = text->len / 4 * 3 - padding;
    bytes = js_malloc(ctx, length);
    if (!bytes)
        return JS_EXCEPTION;
    to = bytes;
    for (end = from + text->len - (padding ? 4 : 0); from < end; from += 4) {
        uint8_t a = base64_values[from[0]], b = base64_values[from[1]], c = base64_values[from[2]],
                d = base64_values[from[3]];
        uint32_t bits = a << 18 | b << 12 | c << 6 | d;
        invalid |= a | b | c | d;
        *to++ = bits >> 16;
        *to++ = bits >> 8;
        *to++ = bits;
    }
    if (padding) {
        uint8_t a = base64_values[from[0]], b = base64_values[from[1]],
                c = padding == 1 ? base64_values[from[2]] : 0;
        invalid |= a | b | c;
        *to++ = a << 2 | b >> 4;
        if (padding == 1)
            *to++ = b << 4 | c >> 2;
    }
    if (invalid < 64)
        return JS_NewUint8Array(ctx, bytes, length, js_array_buffer_realloc, NULL, false);
    js_free(ctx, bytes);
as_written:
    return JS_Call(ctx, data[0], this_value, argc, argv);
}

/* The variable that a function written in JavaScript closes over. */
static JSValueConst base64_variable(JSObject *function, int index)
{
    return *function->u.func.var_refs[index]->pvalue;
}

static bool base64_is_function_of(JSValueConst value, int parameters)
{
    JSObject *p = JS_VALUE_GET_OBJ(value);

    return JS_VALUE_GET_TAG(value) == JS_TAG_OBJECT && p->class_id == JS_CLASS_BYTECODE_FUNCTION &&
           p->u.func.function_bytecode->arg_count == parameters;
}

/* Whether it is `lookup`, the list of the letters, or `revLookup`, the list of their values. */
static bool base64_is_table(JSContext *ctx, JSValueConst value, bool of_values)
{
    int i;

    if (JS_VALUE_GET_OBJ(value)->class_id != JS_CLASS_ARRAY)
        return false;
    for (i = 0; i < 64; i++) {
        const char letter[2] = {base64_letters[i]};
        JSValue found = JS_GetPropertyInt64(ctx, value, of_values ? letter[0] : i);
        JSValue wanted = of_values ? js_int32(i) : js_new_string8(ctx, letter);
        bool is_same = js_same_value(ctx, found, wanted);
        JS_FreeValue(ctx, found);
        JS_FreeValue(ctx, wanted);
        if (!is_same)
            return false;
    }
    return true;
}

/* Whether a function has the form of the package's: its parameters, and what it closes over, whatever the names are after
   a bundler shortened them. Then it does nothing but compute, so that it can be tried. */
static bool base64_has_form(JSContext *ctx, JSObject *function, bool decodes)
{
    int i, tables = 0, functions_of_1 = 0, functions_of_3 = 0, constructors = 0, count = decodes ? 4 : 2;
    JSFunctionBytecode *b = function->u.func.function_bytecode;
    JSValue constructor;

    if (b->arg_count != 1 || b->closure_var_count != count || b->func_kind != JS_FUNC_NORMAL)
        return false;
    constructor = JS_GetProperty(ctx, ctx->class_proto[JS_CLASS_UINT8_ARRAY], JS_ATOM_constructor);
    for (i = 0; i < count; i++) {
        JSValueConst variable = base64_variable(function, i);
        if (!JS_IsObject(variable))
            break;
        tables += base64_is_table(ctx, variable, decodes);
        functions_of_1 += base64_is_function_of(variable, 1);
        functions_of_3 += base64_is_function_of(variable, 3);
        constructors += js_same_value(ctx, variable, constructor);
    }
    JS_FreeValue(ctx, constructor);
    return tables == 1 && functions_of_3 == 1 && functions_of_1 == decodes && constructors == decodes;
}

/* Whether the function as written and `in_c` agree on bytes of many lengths. */
static bool base64_agrees(JSContext *ctx, JSValueConst function, JSCFunctionData *in_c, bool decodes)
{
    uint8_t bytes[300];
    int length;

    for (length = 0; length <= (int)sizeof(bytes); length += length < 20 ? 1 : 20) {
        JSValue given, expected, got;
        bool is_same;
        int i;
        for (i = 0; i < length; i++)
            bytes[i] = i * 37 + length;
        given = JS_NewUint8ArrayCopy(ctx, bytes, length);
        if (decodes) {
            JSValue text = base64_encode(ctx, JS_UNDEFINED, 1, vc(&given), 0, NULL);
            JS_FreeValue(ctx, given);
            given = text;
        }
        expected = JS_Call(ctx, function, JS_UNDEFINED, 1, vc(&given));
        got = in_c(ctx, JS_UNDEFINED, 1, vc(&given), 0, &function);
        if (decodes) {
            const uint8_t *a, *b;
            uint32_t a_length, b_length;
            is_same = base64_bytes_of(ctx, expected, &a, &a_length) && base64_bytes_of(ctx, got, &b, &b_length) &&
                      a_length == b_length && !memcmp(a, b, a_length);
        } else {
            is_same = js_same_value(ctx, expected, got);
        }
        if (JS_IsException(expected) || JS_IsException(got))
            JS_FreeValue(ctx, JS_GetException(ctx));
        JS_FreeValue(ctx, given);
        JS_FreeValue(ctx, expected);
        JS_FreeValue(ctx, got);
        if (!is_same)
            return false;
    }
    return true;
}

/* Gives the function a body in C, which keeps the one that was written. */
static void base64_replace(JSContext *ctx, JSObject *function, JSCFunctionData *in_c)
{
    JSValue as_written = JS_NewObjectProtoClass(ctx, ctx->function_proto, JS_CLASS_BYTECODE_FUNCTION);
    JSCFunctionDataRecord *record = js_malloc(ctx, sizeof(*record) + sizeof(JSValue));

    /* Out of memory ends the guest; it never gets here. */
    JS_VALUE_GET_OBJ(as_written)->u.func = function->u.func;
    *record = (JSCFunctionDataRecord){.func = in_c, .length = 1, .data_len = 1};
    record->data[0] = as_written;
    function->class_id = JS_CLASS_C_FUNCTION_DATA;
    function->u.c_function_data_record = record;
}

/* Replaces the package's functions wherever they are. Runs them: to be called while time is limited. */
void JS_ReplaceBase64(JSContext *ctx)
{
    JSRuntime *rt = ctx->rt;
    JSObject *found[64];
    struct list_head *el;
    int i, count = 0;

    memset(base64_values, 255, sizeof(base64_values));
    for (i = 0; i < 64; i++)
        base64_values[(uint8_t)base64_letters[i]] = i;
    base64_values['-'] = 62;
    base64_values['_'] = 63;
    list_for_each(el, &rt->gc_obj_list) {
        JSObject *p = list_entry(el, JSObject, header.link);
        if (JS_GC_TYPE(p) == JS_GC_OBJ_TYPE_JS_OBJECT && p->class_id == JS_CLASS_BYTECODE_FUNCTION &&
            (base64_has_form(ctx, p, true) || base64_has_form(ctx, p, false)) && count < countof(found))
            found[count++] = p;
    }
    for (i = 0; i < count; i++) {
        bool decodes = found[i]->u.func.function_bytecode->closure_var_count == 4;
        JSCFunctionData *in_c = decodes ? base64_decode : base64_encode;
        if (base64_agrees(ctx, JS_MKPTR(JS_TAG_OBJECT, found[i]), in_c, decodes))
            base64_replace(ctx, found[i], in_c);
    }
}
