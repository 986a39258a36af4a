/* Values that are plain pass the published library's conversion natively; included at the end of quickjs.c
   (build/edits.rs).

   The library turns each document that it reads, each argument and each result from JSON into values and back, field by
   field: most of the time of a function that lists. Nearly all of them are plain: null, booleans, strings, usual
   numbers, and arrays and objects of these as literals make them. For a plain value the conversion copies it, objects
   with their names checked (and, to JSON, sorted). This does the same in one pass over shapes.

   Its functions are recognised by their bytecode (src/library.rs) while an image is sealed. What is not plain, or where
   anything stands in a way that could make the library's own code do something else (a replaced built-in, another
   function under a name that it calls), goes the library's way from the begin: nothing has been done by then that anyone
   could see. */

/* ---- Recognition ---- */

/* What a function is, as the host says of it (src/library.rs). */
typedef enum {
    LIBRARY_OTHER,
    LIBRARY_FROM_JSON,     /* jsonToConvex */
    LIBRARY_TO_JSON,       /* convexToJsonInternal */
    LIBRARY_FIELD_NAME,    /* validateObjectField */
    LIBRARY_SIMPLE_OBJECT, /* isSimpleObject */
    LIBRARY_SPECIAL_NUMBER, /* isSpecial */
    LIBRARY_COLLECT,        /* QueryImpl.collect */
    LIBRARY_ITERATE,        /* QueryImpl[Symbol.asyncIterator] */
    LIBRARY_NEXT,           /* QueryImpl.next */
    LIBRARY_OPERATE,        /* performAsyncSyscall */
    /* What packages that hash passwords have (hashing.h). */
    LIBRARY_ROTATE,         /* rotl */
    LIBRARY_SALSA,          /* XorAndSalsa */
    LIBRARY_BLOCK_MIX,      /* BlockMix */
    LIBRARY_SCRYPT_IN_STEPS, /* lucia's scrypt */
    LIBRARY_SCRYPT_AT_ONCE,  /* scrypt of @noble/hashes 1, which takes an index by `%` */
    LIBRARY_SCRYPT_AT_ONCE_MASKED, /* the same of 2, by `&` */
    LIBRARY_SCRYPT_STEP,     /* what scryptAsync of @noble/hashes does again and again */
    LIBRARY_SCRYPT_STEP_MASKED,
    LIBRARY_STREAM_TO_WORD, /* _streamtoword of bcryptjs */
    LIBRARY_ENCIPHER,       /* _encipher */
    LIBRARY_KEY             /* _key */
} LibraryKind;

#define LIBRARY_VARIABLES_MAX 9

/* What a kind of function calls, as indexes of its closure's variables; -1 where it calls no such thing. */
typedef struct {
    int8_t kind, self, field_name, simple_object, special_number, commit_timestamp, operate, from_json;
    int8_t variables[LIBRARY_VARIABLES_MAX]; /* for hashing: what src/library.rs names, -1 behind the last */
} LibraryFunction;

#define LIBRARY_FUNCTIONS_MAX 31 /* `library_function` has five bits. */
static LibraryFunction library_functions[LIBRARY_FUNCTIONS_MAX + 1];
static int library_function_count;

/* How deep a value may be nested that is passed natively: as deep as any value of a database. */
#define LIBRARY_LEVELS_MAX 64

/* Asks the host about a canonical text. Fills in what the function is, and says whether it is any. */
bool (*js_recognise)(const uint8_t *text, size_t length, int8_t *function);

/* Functions of other forms are not asked about. */
static const struct { uint8_t function_kind, arguments, closure_min, closure_max; uint16_t code_min, code_max; } library_forms[] = {
    {JS_FUNC_NORMAL, 1, 0, 12, 20, 900},
    {JS_FUNC_NORMAL, 4, 6, 30, 300, 2000},
    {JS_FUNC_NORMAL, 0, 0, 0, 5, 30},
    {JS_FUNC_ASYNC, 0, 0, 4, 10, 250},
    {JS_FUNC_ASYNC, 2, 1, 6, 40, 400},
    /* For hashing. */
    {JS_FUNC_NORMAL, 2, 0, 0, 8, 100},
    {JS_FUNC_NORMAL, 6, 1, 1, 600, 4000},
    {JS_FUNC_NORMAL, 5, 1, 1, 60, 400},
    {JS_FUNC_ASYNC, 3, 3, 3, 300, 1500},
    {JS_FUNC_NORMAL, 3, 4, 4, 150, 700},
    {JS_FUNC_NORMAL, 0, 9, 9, 40, 200},
    {JS_FUNC_NORMAL, 4, 1, 1, 500, 4000},
    {JS_FUNC_NORMAL, 3, 2, 2, 100, 400},
};

static void canonical_atom(JSContext *ctx, DynBuf *text, JSAtom atom)
{
    const char *name = JS_AtomToCString(ctx, atom);

    if (name) {
        dbuf_put(text, name, strlen(name) + 1);
        JS_FreeCString(ctx, name);
    } else {
        JS_FreeValue(ctx, JS_GetException(ctx));
        dbuf_set_error(text);
    }
}

/* A function's bytecode as text that does not depend on what a bundler changes: the names of variables, which module's
   variables lie where, and with them the lengths of instructions. */
static void canonical_function(JSContext *ctx, DynBuf *text, JSFunctionBytecode *b, int depth)
{
    uint8_t *code = b->byte_code_buf;
    int *ordinals = js_mallocz(ctx, sizeof(*ordinals) * (b->byte_code_len + 1));
    int pos, count = 0, i;

    if (!ordinals || depth > 3) {
        js_free(ctx, ordinals);
        dbuf_set_error(text);
        return;
    }
    dbuf_printf(text, "function %d %d %d %d %d %d %d\n", b->is_strict_mode, b->func_kind,
                b->has_simple_parameter_list, b->arg_count, b->defined_arg_count, b->var_count,
                b->closure_var_count);
    for (i = 0; i < b->closure_var_count; i++) {
        JSClosureVar *variable = &b->closure_var[i];
        if (variable->closure_type == JS_CLOSURE_GLOBAL_REF || variable->closure_type >= JS_CLOSURE_GLOBAL_DECL) {
            dbuf_printf(text, "global ");
            canonical_atom(ctx, text, variable->var_name);
        } else if (depth > 0) {
            dbuf_printf(text, "variable %d %d\n", variable->closure_type, variable->var_idx);
        }
    }
    for (pos = 0; pos < b->byte_code_len; pos += short_opcode_info(code[pos]).size)
        ordinals[pos] = count++;
    for (pos = 0; pos < b->byte_code_len; pos += short_opcode_info(code[pos]).size) {
        int op = code[pos];
        const JSOpCode *info = &short_opcode_info(op);
        const uint8_t *operand = code + pos + 1;
        JSAtom atom = JS_ATOM_NULL;
        int constant = -1, target = -1, extra = info->size - 1;

        switch (info->fmt) {
        case OP_FMT_none_var_ref:
            dbuf_printf(text, "v%d %d\n", (op - OP_get_var_ref0) / 4, (op - OP_get_var_ref0) % 4);
            continue;
        case OP_FMT_var_ref:
            /* Whether a variable is checked for initialisation depends on how it was declared. */
            if (op == OP_get_var_ref_check)
                op = OP_get_var_ref;
            if (op >= OP_get_var_ref && op <= OP_set_var_ref)
                dbuf_printf(text, "v%d %d\n", op - OP_get_var_ref, get_u16(operand));
            else
                dbuf_printf(text, "%d v %d\n", op, get_u16(operand));
            continue;
        case OP_FMT_label8:
            target = pos + 1 + (int8_t)operand[0];
            op = op == OP_if_false8 ? OP_if_false : op == OP_if_true8 ? OP_if_true : OP_goto;
            extra = 0;
            break;
        case OP_FMT_label16:
            target = pos + 1 + (int16_t)get_u16(operand);
            op = OP_goto;
            extra = 0;
            break;
        case OP_FMT_label:
            target = pos + 1 + (int32_t)get_u32(operand);
            extra = 0;
            break;
        case OP_FMT_const8:
            constant = operand[0];
            extra = 0;
            break;
        case OP_FMT_const:
            constant = get_u32(operand);
            extra = 0;
            break;
        case OP_FMT_atom:
        case OP_FMT_atom_u8:
        case OP_FMT_atom_u16:
            atom = get_u32(operand);
            operand += 4;
            extra -= 4;
            break;
        case OP_FMT_atom_label_u8:
        case OP_FMT_atom_label_u16:
        case OP_FMT_label_u16:
            dbuf_set_error(text);
            break;
        default:
            break;
        }
        dbuf_printf(text, "%d", op);
        while (extra-- > 0)
            dbuf_printf(text, " %d", *operand++);
        if (target >= 0 && target <= b->byte_code_len)
            dbuf_printf(text, " to %d", ordinals[target]);
        /* A closure's name is its variable's. */
        if (atom != JS_ATOM_NULL && op != OP_set_name) {
            dbuf_putc(text, ' ');
            canonical_atom(ctx, text, atom);
        }
        if (constant >= 0 && constant < b->cpool_count) {
            JSValueConst value = b->cpool[constant];
            if (JS_VALUE_GET_TAG(value) == JS_TAG_FUNCTION_BYTECODE) {
                dbuf_putc(text, '\n');
                canonical_function(ctx, text, JS_VALUE_GET_PTR(value), depth + 1);
            } else {
                const char *string = JS_ToCString(ctx, value);
                if (string)
                    dbuf_printf(text, " %d ", JS_VALUE_GET_NORM_TAG(value)), dbuf_put(text, string, strlen(string) + 1);
                else
                    dbuf_set_error(text);
                JS_FreeCString(ctx, string);
            }
        }
        dbuf_putc(text, '\n');
    }
    js_free(ctx, ordinals);
    dbuf_putstr(text, "end\n");
}

static void recognise_function(JSContext *ctx, JSFunctionBytecode *b)
{
    DynBuf text;
    size_t form;
    int known;
    int8_t answer[sizeof(LibraryFunction)];

    for (form = 0; form < countof(library_forms); form++)
        if (b->func_kind == library_forms[form].function_kind && b->arg_count == library_forms[form].arguments && b->closure_var_count >= library_forms[form].closure_min &&
            b->closure_var_count <= library_forms[form].closure_max &&
            b->byte_code_len >= library_forms[form].code_min && b->byte_code_len <= library_forms[form].code_max)
            break;
    if (form == countof(library_forms) || !b->is_strict_mode)
        return;
    js_dbuf_init(ctx, &text);
    canonical_function(ctx, &text, b, 0);
    if (!dbuf_error(&text) && js_recognise(text.buf, text.size, answer)) {
        for (known = 1; known <= library_function_count; known++)
            if (!memcmp(&library_functions[known], answer, sizeof(answer)))
                break;
        if (known <= LIBRARY_FUNCTIONS_MAX) {
            memcpy(&library_functions[known], answer, sizeof(answer));
            library_function_count = max_int(library_function_count, known);
            b->library_function = known;
        }
    }
    dbuf_free(&text);
}

/* ---- What the library's code relies on ---- */

/* A property of a built-in object that must be what it was when the engine started. */
typedef struct {
    JSObject *object;
    JSAtom atom;
    bool is_accessor;
    void *value;         /* the object that it holds, or its getter; NULL: there is no such property */
    JSObject *prototype; /* of the object, where there is no such property */
    int index;           /* where it was found first */
} BuiltIn;

#define BUILT_INS_MAX 48
static BuiltIn built_ins[BUILT_INS_MAX];
static int built_in_count;
/* So many of them the conversion alone relies on, so many the reading of documents. */
static int built_ins_of_conversion, built_ins_of_queries;
/* The platform's `collect`. */
static JSValue collect_function = JS_UNDEFINED;

/* The object that a property holds, or its getter. */
static void *held_by(const JSShapeProperty *shape_property, const JSProperty *property, bool *is_accessor)
{
    JSValueConst value;

    *is_accessor = (shape_property->flags & JS_PROP_TMASK) == JS_PROP_GETSET;
    if (*is_accessor)
        return property->u.getset.getter;
    switch (shape_property->flags & JS_PROP_TMASK) {
    case JS_PROP_NORMAL: value = property->u.value; break;
    case JS_PROP_VARREF: value = *property->u.var_ref->pvalue; break;
    default: return NULL;
    }
    return JS_VALUE_GET_TAG(value) == JS_TAG_OBJECT ? JS_VALUE_GET_OBJ(value) : NULL;
}

/* Notes a property that was made already, or is none of the object's own. */
static void watch_made(JSObject *p, JSAtom atom)
{
    BuiltIn *built_in = &built_ins[built_in_count++];
    JSProperty *property;
    JSShapeProperty *shape_property;

    shape_property = find_own_property(&property, p, atom);
    *built_in = (BuiltIn){p, atom};
    built_in->prototype = p->shape->proto;
    if (shape_property) {
        built_in->value = held_by(shape_property, property, &built_in->is_accessor);
        built_in->index = property - p->prop;
    }
}

static void watch(JSContext *ctx, JSValueConst object, JSAtom atom)
{
    /* Many are made when they are first read. */
    JS_FreeValue(ctx, JS_GetProperty(ctx, object, atom));
    watch_made(JS_VALUE_GET_OBJ(object), atom);
}

static void watch_named(JSContext *ctx, JSValueConst object, const char *name)
{
    JSAtom atom = JS_NewAtom(ctx, name);
    watch(ctx, object, atom);
}

/* Notes the built-ins that the library's code uses, before any other code has run. */
void JS_WatchBuiltIns(JSContext *ctx)
{
    static const char *const globals[] = {"Array", "Object", "ArrayBuffer", "Set", "Map", "Number"};
    static const char *const of_array[] = {"map", "sort"};
    JSValue values[countof(globals)], prototype, iterator;
    size_t i;

    for (i = 0; i < countof(globals); i++) {
        values[i] = JS_GetPropertyStr(ctx, ctx->global_obj, globals[i]);
        watch_named(ctx, ctx->global_obj, globals[i]);
        watch(ctx, values[i], JS_ATOM_Symbol_hasInstance);
    }
    watch_named(ctx, values[0], "isArray");
    watch(ctx, values[0], JS_ATOM_Symbol_species);
    watch_named(ctx, values[1], "entries");
    watch_named(ctx, values[1], "getPrototypeOf");
    watch_named(ctx, values[1], "is");
    watch_named(ctx, values[5], "isNaN");
    watch_named(ctx, values[5], "isFinite");
    prototype = ctx->class_proto[JS_CLASS_ARRAY];
    for (i = 0; i < countof(of_array); i++)
        watch_named(ctx, prototype, of_array[i]);
    watch(ctx, prototype, JS_ATOM_constructor);
    watch(ctx, prototype, JS_ATOM_Symbol_iterator);
    watch(ctx, ctx->class_proto[JS_CLASS_ARRAY_ITERATOR], JS_ATOM_next);
    watch_named(ctx, ctx->class_proto[JS_CLASS_STRING], "startsWith");
    watch_named(ctx, ctx->class_proto[JS_CLASS_STRING], "charCodeAt");
    watch_named(ctx, ctx->class_proto[JS_CLASS_STRING], "concat"); /* The engine calls it for templates. */
    for (i = 0; i < countof(globals); i++)
        JS_FreeValue(ctx, values[i]);
    built_ins_of_conversion = built_in_count;
}

/* Notes what the library's loop over a query's documents uses besides, the platform's part of it too. */
void JS_WatchPlatform(JSContext *ctx, JSValueConst collect)
{
    JSValue syscalls = JS_GetPropertyStr(ctx, ctx->global_obj, "Convex");
    JSValue json = JS_GetPropertyStr(ctx, ctx->global_obj, "JSON");

    collect_function = js_dup(collect);
    watch_named(ctx, ctx->global_obj, "Convex");
    watch_named(ctx, syscalls, "asyncSyscall");
    watch_named(ctx, ctx->global_obj, "JSON");
    watch_named(ctx, json, "parse");
    watch_named(ctx, json, "stringify");
    watch_named(ctx, ctx->class_proto[JS_CLASS_ARRAY], "push");
    watch(ctx, ctx->class_proto[JS_CLASS_ARRAY], JS_ATOM_then);
    watch(ctx, ctx->class_proto[JS_CLASS_OBJECT], JS_ATOM_then);
    watch(ctx, ctx->class_proto[JS_CLASS_PROMISE], JS_ATOM_constructor);
    JS_FreeValue(ctx, syscalls);
    JS_FreeValue(ctx, json);
    built_ins_of_queries = built_in_count;
}

static bool is_as_it_was(BuiltIn *built_in)
{
    JSObject *p = built_in->object;
    JSShapeProperty *shape_property;
    JSProperty *property;
    bool is_accessor;

    if (!built_in->value)
        return p->shape->proto == built_in->prototype && !find_own_property1(p, built_in->atom);
    if (built_in->index < p->shape->prop_count &&
        get_shape_prop(p->shape)[built_in->index].atom == built_in->atom) {
        shape_property = &get_shape_prop(p->shape)[built_in->index];
        property = &p->prop[built_in->index];
    } else {
        shape_property = find_own_property(&property, p, built_in->atom);
        if (!shape_property)
            return false;
    }
    return held_by(shape_property, property, &is_accessor) == built_in->value && is_accessor == built_in->is_accessor;
}

static bool are_built_ins_as_they_were(JSContext *ctx, int count)
{
    int i;

    /* Scripts can declare variables that hide those of the global object. */
    if (JS_VALUE_GET_OBJ(ctx->global_var_obj)->shape->prop_count != 0)
        return false;
    if (JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_ARRAY])->shape->proto !=
        JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_OBJECT]))
        return false;
    for (i = 0; i < count; i++)
        if (!is_as_it_was(&built_ins[i]))
            return false;
    return true;
}

static LibraryKind library_kind(JSObject *p)
{
    if (p->class_id != JS_CLASS_BYTECODE_FUNCTION && p->class_id != JS_CLASS_ASYNC_FUNCTION)
        return LIBRARY_OTHER;
    return library_functions[p->u.func.function_bytecode->library_function].kind;
}

/* The function in a closure's variable, if it is one of this kind. */
static JSObject *library_callee(JSObject *function, int variable, LibraryKind kind)
{
    JSValueConst value;
    JSObject *p;

    if (variable < 0 || variable >= function->u.func.function_bytecode->closure_var_count)
        return NULL;
    value = *function->u.func.var_refs[variable]->pvalue;
    if (JS_VALUE_GET_TAG(value) != JS_TAG_OBJECT)
        return NULL;
    p = JS_VALUE_GET_OBJ(value);
    return library_kind(p) == kind ? p : NULL;
}

#define FIELD_NAME_CHARS_MAX 1024

/* Whether a function calls what it called when it was published. */
static bool library_calls_its_own(JSContext *ctx, JSObject *function, const LibraryFunction *f)
{
    JSObject *field_name = library_callee(function, f->field_name, LIBRARY_FIELD_NAME);
    JSValueConst value;

    if (library_callee(function, f->self, f->kind) != function || !field_name ||
        field_name->u.func.function_bytecode->closure_var_count != 1)
        return false;
    value = *field_name->u.func.var_refs[0]->pvalue;
    if (JS_VALUE_GET_TAG(value) != JS_TAG_INT || JS_VALUE_GET_INT(value) != FIELD_NAME_CHARS_MAX)
        return false;
    if (f->kind == LIBRARY_FROM_JSON)
        return true;
    if (!library_callee(function, f->simple_object, LIBRARY_SIMPLE_OBJECT) ||
        !library_callee(function, f->special_number, LIBRARY_SPECIAL_NUMBER))
        return false;
    if (f->commit_timestamp < 0)
        return true;
    value = *function->u.func.var_refs[f->commit_timestamp]->pvalue;
    return JS_VALUE_GET_TAG(value) == JS_TAG_OBJECT &&
           JS_VALUE_GET_OBJ(value)->class_id == JS_CLASS_BYTECODE_FUNCTION &&
           !find_own_property1(JS_VALUE_GET_OBJ(value), JS_ATOM_Symbol_hasInstance) &&
           JS_VALUE_GET_OBJ(value)->shape->proto == JS_VALUE_GET_OBJ(ctx->function_proto);
}

/* ---- Conversion ---- */

/* Shapes whose names were found to be good, so that the objects of a list are looked at once. A reference is held: nobody
   changes a shape that others have, and none comes to lie where it was. */
typedef struct {
    JSShape *shape;
    bool is_sorted;
} GoodShape;

#define GOOD_SHAPES 64
static GoodShape good_shapes[GOOD_SHAPES];
/* What Object.prototype had when they were found good. */
static JSShape *good_shapes_prototype;
static int good_shapes_prototype_count;

typedef enum { NAMES_BAD, NAMES_GOOD, NAMES_SORTED } Names;

static int compare_names(JSContext *ctx, JSAtom a, JSAtom b)
{
    JSAtomStruct *s = ctx->rt->atom_array[a], *t = ctx->rt->atom_array[b];
    int order = memcmp(str8(s), str8(t), min_int(s->len, t->len));

    return order ? order : (int)s->len - (int)t->len;
}

/* Whether all properties are enumerable values with names that pass the library's check, and setting them on a new
   object does no more than that. Names that are numbers are not looked at closer: their order is another one. */
static Names look_at_names(JSContext *ctx, JSShape *shape)
{
    JSObject *object_prototype = JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_OBJECT]);
    JSShapeProperty *properties = get_shape_prop(shape);
    Names names = NAMES_SORTED;
    int i, k;

    for (i = 0; i < shape->prop_count; i++) {
        JSAtomStruct *name;

        if (properties[i].atom == JS_ATOM_NULL || __JS_AtomIsTaggedInt(properties[i].atom) ||
            properties[i].flags != JS_PROP_C_W_E || find_own_property1(object_prototype, properties[i].atom))
            return NAMES_BAD;
        name = ctx->rt->atom_array[properties[i].atom];
        if (name->atom_type != JS_ATOM_TYPE_STRING || name->is_wide_char || name->len > FIELD_NAME_CHARS_MAX ||
            (name->len > 0 && (str8(name)[0] == '$' || is_digit(str8(name)[0]))))
            return NAMES_BAD;
        for (k = 0; k < name->len; k++)
            if (str8(name)[k] < 32 || str8(name)[k] >= 127)
                return NAMES_BAD;
        if (i > 0 && names == NAMES_SORTED && compare_names(ctx, properties[i - 1].atom, properties[i].atom) >= 0)
            names = NAMES_GOOD;
    }
    return names;
}

static Names names_of(JSContext *ctx, JSShape *shape)
{
    JSObject *object_prototype = JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_OBJECT]);
    GoodShape *good = &good_shapes[((uintptr_t)shape >> 4) % GOOD_SHAPES];
    Names names;

    if (good_shapes_prototype != object_prototype->shape ||
        good_shapes_prototype_count != object_prototype->shape->prop_count) {
        int i;
        for (i = 0; i < GOOD_SHAPES; i++) {
            if (good_shapes[i].shape)
                js_free_shape(ctx->rt, good_shapes[i].shape);
            good_shapes[i].shape = NULL;
        }
        good_shapes_prototype = object_prototype->shape;
        good_shapes_prototype_count = object_prototype->shape->prop_count;
    }
    if (good->shape == shape)
        return good->is_sorted ? NAMES_SORTED : NAMES_GOOD;
    names = look_at_names(ctx, shape);
    if (names != NAMES_BAD && shape->is_hashed) {
        if (good->shape)
            js_free_shape(ctx->rt, good->shape);
        good->shape = js_dup_shape(shape);
        good->is_sorted = names == NAMES_SORTED;
    }
    return names;
}

/* A copy as the library makes it, or JS_UNINITIALIZED if the value is not plain. */
static JSValue convert_plain(JSContext *ctx, JSValueConst value, bool to_json, bool skips_undefined, int level);

static JSValue convert_array(JSContext *ctx, JSObject *p, bool to_json, int level)
{
    JSValue copy;
    JSObject *q;
    uint32_t i, count = p->u.array.count;

    if (!p->fast_array || p->shape->prop_count != 1 || p->shape->proto != JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_ARRAY]) ||
        JS_VALUE_GET_TAG(p->prop[0].u.value) != JS_TAG_INT || JS_VALUE_GET_INT(p->prop[0].u.value) != count)
        return JS_UNINITIALIZED;
    copy = JS_NewArray(ctx);
    if (JS_IsException(copy))
        return copy;
    q = JS_VALUE_GET_OBJ(copy);
    if (count > 0 && expand_fast_array(ctx, q, count)) {
        JS_FreeValue(ctx, copy);
        return JS_EXCEPTION;
    }
    for (i = 0; i < count; i++) {
        JSValue element = convert_plain(ctx, p->u.array.u.values[i], to_json, true, level);
        if (JS_IsUninitialized(element) || JS_IsException(element)) {
            JS_FreeValue(ctx, copy);
            return element;
        }
        q->u.array.u.values[i] = element;
        q->u.array.count = i + 1;
    }
    q->prop[0].u.value = js_int32(count);
    return copy;
}

/* The names of an object that are to be copied, sorted. */
static int sorted_names(JSContext *ctx, JSObject *p, uint32_t *order)
{
    JSShapeProperty *properties = get_shape_prop(p->shape);
    int count = 0, i, k;

    for (i = 0; i < p->shape->prop_count; i++) {
        for (k = count++; k > 0 && compare_names(ctx, properties[order[k - 1]].atom, properties[i].atom) > 0; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    return count;
}

#define SORTED_NAMES_MAX 64

static JSValue convert_object(JSContext *ctx, JSObject *p, bool to_json, bool skips_undefined, int level)
{
    Names names;
    JSValue copy;
    JSObject *q;
    uint32_t order[SORTED_NAMES_MAX];
    int i, count = p->shape->prop_count;
    bool has_undefined = false;

    if (p->is_exotic || p->shape->proto != JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_OBJECT]))
        return JS_UNINITIALIZED;
    names = names_of(ctx, p->shape);
    if (names == NAMES_BAD)
        return JS_UNINITIALIZED;
    for (i = 0; i < count; i++)
        has_undefined |= JS_IsUndefined(p->prop[i].u.value);
    /* From JSON nothing is undefined, and to JSON it is left out, but for the patches of a document. */
    if (has_undefined && (!to_json || !skips_undefined))
        return JS_UNINITIALIZED;
    if (p->shape->is_hashed && !has_undefined && (names == NAMES_SORTED || !to_json)) {
        copy = JS_NewObjectFromShape(ctx, js_dup_shape(p->shape), JS_CLASS_OBJECT, NULL);
        if (JS_IsException(copy))
            return copy;
        q = JS_VALUE_GET_OBJ(copy);
        for (i = 0; i < count; i++)
            q->prop[i].u.value = JS_UNDEFINED;
        for (i = 0; i < count; i++) {
            JSValue member = convert_plain(ctx, p->prop[i].u.value, to_json, true, level);
            if (JS_IsUninitialized(member) || JS_IsException(member)) {
                JS_FreeValue(ctx, copy);
                return member;
            }
            q->prop[i].u.value = member;
        }
        return copy;
    }
    if (count > SORTED_NAMES_MAX)
        return JS_UNINITIALIZED;
    if (to_json)
        sorted_names(ctx, p, order);
    copy = JS_NewObject(ctx);
    for (i = 0; i < count && !JS_IsException(copy); i++) {
        int at = to_json ? order[i] : i;
        JSProperty *property;
        JSValue member;

        if (JS_IsUndefined(p->prop[at].u.value))
            continue;
        member = convert_plain(ctx, p->prop[at].u.value, to_json, true, level);
        if (JS_IsUninitialized(member) || JS_IsException(member)) {
            JS_FreeValue(ctx, copy);
            return member;
        }
        property = add_property(ctx, JS_VALUE_GET_OBJ(copy), get_shape_prop(p->shape)[at].atom, JS_PROP_C_W_E);
        if (property) {
            property->u.value = member;
        } else {
            JS_FreeValue(ctx, member);
            JS_FreeValue(ctx, copy);
            copy = JS_EXCEPTION;
        }
    }
    return copy;
}

static JSValue convert_plain(JSContext *ctx, JSValueConst value, bool to_json, bool skips_undefined, int level)
{
    JSObject *p;

    switch (JS_VALUE_GET_NORM_TAG(value)) {
    case JS_TAG_STRING:
    case JS_TAG_STRING_ROPE:
    case JS_TAG_INT:
    case JS_TAG_BOOL:
    case JS_TAG_NULL:
        return js_dup(value);
    case JS_TAG_FLOAT64: {
        double number = JS_VALUE_GET_FLOAT64(value);
        if (to_json && (!isfinite(number) || (number == 0 && signbit(number))))
            return JS_UNINITIALIZED;
        return js_dup(value);
    }
    case JS_TAG_OBJECT:
        if (level == LIBRARY_LEVELS_MAX)
            return JS_UNINITIALIZED;
        p = JS_VALUE_GET_OBJ(value);
        if (p->class_id == JS_CLASS_OBJECT)
            return convert_object(ctx, p, to_json, skips_undefined, level + 1);
        if (p->class_id == JS_CLASS_ARRAY)
            return convert_array(ctx, p, to_json, level + 1);
        return JS_UNINITIALIZED;
    default:
        return JS_UNINITIALIZED;
    }
}

static JSValue js_call_hashing(JSContext *ctx, JSObject *function, const LibraryFunction *f, int count, JSValueConst *arguments);
static JSValue js_scrypt_in_steps(JSContext *ctx, JSObject *function, const LibraryFunction *f, int count, JSValueConst *arguments);

/* A call of a recognised function: its result, or JS_UNINITIALIZED if its own code must run. */
static JSValue js_call_library(JSContext *ctx, JSObject *function, int count, JSValueConst *arguments)
{
    const LibraryFunction *f = &library_functions[function->u.func.function_bytecode->library_function];
    bool is_patch = false;

    if (f->kind == LIBRARY_TO_JSON) {
        if (count < 4 || JS_VALUE_GET_TAG(arguments[3]) != JS_TAG_BOOL)
            return JS_UNINITIALIZED;
        is_patch = JS_VALUE_GET_BOOL(arguments[3]);
    } else if (f->kind >= LIBRARY_ROTATE) {
        return js_call_hashing(ctx, function, f, count, arguments);
    } else if (f->kind != LIBRARY_FROM_JSON || count < 1) {
        return JS_UNINITIALIZED;
    }
    /* The library's own code is as quick with what is no object. */
    if (JS_VALUE_GET_TAG(arguments[0]) != JS_TAG_OBJECT || js_check_stack_overflow(ctx->rt, 1 << 16) ||
        !library_calls_its_own(ctx, function, f) || !are_built_ins_as_they_were(ctx, built_ins_of_conversion))
        return JS_UNINITIALIZED;
    return convert_plain(ctx, arguments[0], f->kind == LIBRARY_TO_JSON, !is_patch, 0);
}

/* ---- Queries ---- */

/* The method of a query's class, if it is the library's. */
static JSObject *library_method(JSObject *query, JSAtom name, LibraryKind kind)
{
    JSObject *prototype = query->shape->proto;
    JSShapeProperty *shape_property;
    JSProperty *property;

    if (find_own_property1(query, name) || !prototype || prototype->is_exotic)
        return NULL;
    shape_property = find_own_property(&property, prototype, name);
    if (!shape_property || (shape_property->flags & JS_PROP_TMASK) != JS_PROP_NORMAL ||
        JS_VALUE_GET_TAG(property->u.value) != JS_TAG_OBJECT || library_kind(JS_VALUE_GET_OBJ(property->u.value)) != kind)
        return NULL;
    return JS_VALUE_GET_OBJ(property->u.value);
}

/* The function by which a query's documents are converted, if the query reads and converts them as the library does. */
static JSObject *library_converter(JSContext *ctx, JSValueConst value)
{
    JSObject *query, *next, *convert;
    const LibraryFunction *f;

    if (JS_VALUE_GET_TAG(value) != JS_TAG_OBJECT)
        return NULL;
    query = JS_VALUE_GET_OBJ(value);
    if (query->class_id != JS_CLASS_OBJECT || query->is_exotic ||
        !library_method(query, JS_ATOM_Symbol_asyncIterator, LIBRARY_ITERATE))
        return NULL;
    next = library_method(query, JS_ATOM_next, LIBRARY_NEXT);
    if (!next)
        return NULL;
    f = &library_functions[next->u.func.function_bytecode->library_function];
    convert = library_callee(next, f->from_json, LIBRARY_FROM_JSON);
    if (!convert || !library_callee(next, f->operate, LIBRARY_OPERATE) ||
        !library_calls_its_own(ctx, convert, &library_functions[convert->u.func.function_bytecode->library_function]))
        return NULL;
    return convert;
}

/* A call of `collect`: the platform's promise, or JS_UNINITIALIZED if its own code must run. */
static JSValue js_collect(JSContext *ctx, JSObject *function, JSValueConst query)
{
    JSValueConst arguments[2] = {query};
    JSObject *convert;

    if (library_kind(function) != LIBRARY_COLLECT || JS_IsUndefined(collect_function) ||
        !are_built_ins_as_they_were(ctx, built_ins_of_queries))
        return JS_UNINITIALIZED;
    convert = library_converter(ctx, query);
    if (!convert)
        return JS_UNINITIALIZED;
    arguments[1] = JS_MKPTR(JS_TAG_OBJECT, convert);
    return JS_Call(ctx, collect_function, JS_UNDEFINED, 2, arguments);
}

/* A call of a recognised asynchronous function: its promise, or JS_UNINITIALIZED if its own code must run. */
static JSValue js_call_async_library(JSContext *ctx, JSObject *function, JSValueConst this_object, int count, JSValueConst *arguments)
{
    const LibraryFunction *f = &library_functions[function->u.func.function_bytecode->library_function];

    if (f->kind == LIBRARY_SCRYPT_IN_STEPS)
        return js_scrypt_in_steps(ctx, function, f, count, arguments);
    return js_collect(ctx, function, this_object);
}

/* Whether a value that was just parsed is what converting it would give. */
static bool is_plain_json(JSContext *ctx, JSValueConst value, int level)
{
    JSObject *p;
    uint32_t i;

    if (JS_VALUE_GET_TAG(value) != JS_TAG_OBJECT)
        return true;
    p = JS_VALUE_GET_OBJ(value);
    if (level == LIBRARY_LEVELS_MAX)
        return false;
    if (p->class_id == JS_CLASS_ARRAY && p->fast_array) {
        for (i = 0; i < p->u.array.count; i++)
            if (!is_plain_json(ctx, p->u.array.u.values[i], level + 1))
                return false;
        return true;
    }
    if (p->class_id != JS_CLASS_OBJECT || names_of(ctx, p->shape) == NAMES_BAD)
        return false;
    for (i = 0; i < p->shape->prop_count; i++)
        if (!is_plain_json(ctx, p->prop[i].u.value, level + 1))
            return false;
    return true;
}

static bool is_conversion_native(JSContext *ctx, JSObject *convert)
{
    return library_calls_its_own(ctx, convert, &library_functions[convert->u.func.function_bytecode->library_function]) &&
           are_built_ins_as_they_were(ctx, built_ins_of_conversion);
}

/* Converts documents that were just parsed, in their place, as the library's `convert` would. */
JSValue JS_ConvertDocuments(JSContext *ctx, JSValueConst convert, JSValueConst documents)
{
    JSObject *p = JS_VALUE_GET_OBJ(documents);
    bool is_native = is_conversion_native(ctx, JS_VALUE_GET_OBJ(convert));
    uint32_t i;

    for (i = 0; i < p->u.array.count; i++) {
        JSValue converted;

        if (is_native && is_plain_json(ctx, p->u.array.u.values[i], 0))
            continue;
        converted = JS_Call(ctx, convert, JS_UNDEFINED, 1, vc(&p->u.array.u.values[i]));
        if (JS_IsException(converted))
            return converted;
        set_value(ctx, &p->u.array.u.values[i], converted);
        /* The library's own code may run whatever an app has put into its way. */
        is_native = is_native && is_conversion_native(ctx, JS_VALUE_GET_OBJ(convert));
    }
    return js_dup(documents);
}

/* Recognises the library's functions among those that were loaded. */
void JS_RecogniseLibrary(JSContext *ctx)
{
    struct list_head *el;

    list_for_each(el, &ctx->rt->gc_obj_list) {
        JSGCObjectHeader *p = list_entry(el, JSGCObjectHeader, link);
        if (JS_GC_TYPE(p) == JS_GC_OBJ_TYPE_FUNCTION_BYTECODE)
            recognise_function(ctx, (JSFunctionBytecode *)p);
    }
}
