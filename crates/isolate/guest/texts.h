/* The texts of errors as V8 has them, included at the end of quickjs.c (build/edits/texts.rs).

   Libraries match them, and people know them. Where V8 names an expression ("x.y is not a function"), it is rendered from
   the bytecode of the function that runs: its instructions are gone through once, with the expression that made each value
   on the stack in place of the value. That happens when the error is made, and costs nothing where there is none. */

#define TEXT_BYTECODE_MAX 65536
#define TEXT_DEPTH_MAX 16
#define TEXT_BYTES_MAX 160
#define TEXT_JUMPS_MAX 64
#define TEXT_STACK_MAX 256

typedef enum {
    TEXT_UNKNOWN,
    TEXT_THREE_UNKNOWN, /* a conditional expression, of which V8 prints the three parts */
    TEXT_NAME,          /* of a variable: `atom` */
    TEXT_THIS,
    TEXT_LITERAL,       /* pushed by the instruction at `at` */
    TEXT_FIELD,         /* `a`.`atom` */
    TEXT_OPTIONAL,      /* `a`?.`atom` */
    TEXT_ELEMENT,       /* `a`[`b`] */
    TEXT_CALL,          /* `a`(...) */
    TEXT_UNARY,         /* by the operator at `at` */
    TEXT_BINARY,
    TEXT_LOGICAL,       /* `a` || `b`, by the jump at `at` */
    TEXT_EMPTY_ARRAY,
    TEXT_OBJECT,
    TEXT_LATER,         /* made by what jumps back to `at` */
} TextKind;

typedef struct {
    uint8_t kind;
    bool is_nested; /* read by a pattern from what an outer pattern takes apart */
    uint32_t at;
    JSAtom atom;
    int a, b;
} TextNode;

typedef struct {
    uint32_t target, depth;
    int operator;
    int *stack;
} TextJump;

typedef struct {
    JSContext *ctx;
    JSFunctionBytecode *b;
    DynBuf nodes, later; /* `later`: pairs of a target and the node that is handed to it */
    int stack[TEXT_STACK_MAX];
    uint32_t depth;
    TextJump jumps[TEXT_JUMPS_MAX];
    int jump_count;
    int found;           /* the node that was asked for, and the instruction that takes it */
    const uint8_t *instruction;
} TextScan;

static int text_node(TextScan *s, TextKind kind, uint32_t at, JSAtom atom, int a, int b)
{
    TextNode node = {.kind = kind, .at = at, .atom = atom, .a = a, .b = b};

    if (dbuf_put(&s->nodes, &node, sizeof(node)))
        return 0;
    return s->nodes.size / sizeof(node) - 1;
}

static TextNode *text_get(TextScan *s, int node) { return (TextNode *)s->nodes.buf + node; }

static void text_push(TextScan *s, int node)
{
    if (s->depth == TEXT_STACK_MAX) {
        memmove(s->stack, s->stack + 1, sizeof(s->stack) - sizeof(s->stack[0]));
        s->depth--;
    }
    s->stack[s->depth++] = node;
}

/* Below what the scan has seen lies what it does not know. */
static int text_pop(TextScan *s) { return s->depth ? s->stack[--s->depth] : 0; }

static int text_peek(TextScan *s, uint32_t index) { return index < s->depth ? s->stack[s->depth - 1 - index] : 0; }

static int text_variable(TextScan *s, uint32_t at, JSAtom name)
{
    if (name == JS_ATOM_this)
        return text_node(s, TEXT_THIS, at, 0, 0, 0);
    return name == JS_ATOM_NULL || name == JS_ATOM_empty_string ? 0 : text_node(s, TEXT_NAME, at, name, 0, 0);
}

static int text_local(TextScan *s, uint32_t at, int index)
{
    return text_variable(s, at, s->b->vardefs[s->b->arg_count + index].var_name);
}

/* The stack that a jump will find at its target. */
static void text_jump(TextScan *s, uint32_t from, uint32_t target, int operator, int pushed)
{
    TextJump *jump;

    if (target <= from) {
        uint32_t pair[2] = {target, text_peek(s, 0)};
        dbuf_put(&s->later, pair, sizeof(pair));
        return;
    }
    if (s->jump_count == TEXT_JUMPS_MAX)
        return;
    jump = &s->jumps[s->jump_count];
    jump->stack = js_malloc(s->ctx, sizeof(int) * (s->depth + pushed + 1));
    if (!jump->stack)
        return;
    memcpy(jump->stack, s->stack, sizeof(int) * s->depth);
    for (int i = 0; i < pushed; i++)
        jump->stack[s->depth + i] = 0;
    jump->depth = s->depth + pushed;
    jump->target = target;
    jump->operator = operator;
    s->jump_count++;
}

static bool text_is_undefined(TextScan *s, int node)
{
    TextNode *n = text_get(s, node);

    return n->kind == TEXT_LITERAL && s->b->byte_code_buf[n->at] == OP_undefined;
}

/* What meets at a target: two ways to make one value are an operator or a condition. Returns whether an optional chain goes
   on there: `a?.b` gives undefined and jumps away if there is no `a`. */
static bool text_land(TextScan *s, uint32_t at, bool *is_dead)
{
    int i, kept = 0;
    bool has_landed = false, is_optional = false;

    for (i = 0; i < s->jump_count; i++) {
        TextJump *jump = &s->jumps[i];
        if (jump->target != at) {
            s->jumps[kept++] = *jump;
            continue;
        }
        if (*is_dead) {
            s->depth = min_int(jump->depth, TEXT_STACK_MAX);
            memcpy(s->stack, jump->stack, sizeof(int) * s->depth);
            *is_dead = false;
            is_optional = jump->operator > 1 &&
                          s->b->byte_code_buf[jump->operator - 2] == OP_is_undefined_or_null;
        } else if (s->depth && !(!jump->operator && text_is_undefined(s, jump->stack[s->depth - 1])) && jump->depth == s->depth && jump->stack[s->depth - 1] != s->stack[s->depth - 1]) {
            int *top = &s->stack[s->depth - 1];
            *top = jump->operator ? text_node(s, TEXT_LOGICAL, jump->operator, 0, jump->stack[s->depth - 1], *top)
                                  : text_node(s, TEXT_THREE_UNKNOWN, at, 0, 0, 0);
        }
        has_landed = true;
        js_free(s->ctx, jump->stack);
    }
    s->jump_count = kept;
    if (*is_dead && !has_landed) {
        text_push(s, text_node(s, TEXT_LATER, at, 0, 0, 0));
        *is_dead = false;
    }
    return is_optional;
}

static void text_shuffle(TextScan *s, const char *taken, const char *put)
{
    int values[8], count = strlen(taken), i;

    for (i = count - 1; i >= 0; i--)
        values[i] = text_pop(s);
    for (; *put; put++)
        text_push(s, values[strchr(taken, *put) - taken]);
}

static bool text_is_binary(int op)
{
    return (op >= OP_mul && op <= OP_strict_neq);
}

/* Goes through the function's instructions. The value that is asked for is the one at `index`, from the stack's top, when
   the instruction that ends at or after `pc` begins; it can be made by an instruction that stands behind. */
static void text_scan(TextScan *s, const uint8_t *pc, int (*index_of)(const uint8_t *instruction))
{
    const uint8_t *code = s->b->byte_code_buf, *end = code + s->b->byte_code_len, *at = code;
    bool is_dead = false;

    for (; at < end; at += short_opcode_info(*at).size) {
        const JSOpCode *info = &short_opcode_info(*at);
        uint32_t here = at - code;
        int op = *at, a, b, i, popped = info->n_pop, pushed = info->n_push, argc = 0;
        bool is_optional;

        if (info->size == 0 || op >= OP_COUNT)
            return;
        is_optional = text_land(s, here, &is_dead);
        if (at < pc && at + info->size >= pc) {
            i = index_of(at);
            s->instruction = at;
            if (i < 0)
                return;
            s->found = text_peek(s, i);
        }
        if (info->fmt == OP_FMT_npop || info->fmt == OP_FMT_npop_u16)
            argc = get_u16(at + 1);
        else if (info->fmt == OP_FMT_npopx)
            argc = op - OP_call0;
        switch (op) {
        case OP_push_this: text_push(s, text_node(s, TEXT_THIS, here, 0, 0, 0)); continue;
        case OP_push_i32: case OP_push_const: case OP_push_atom_value: case OP_undefined: case OP_null:
        case OP_push_false: case OP_push_true: case OP_push_minus1: case OP_push_0: case OP_push_1: case OP_push_2:
        case OP_push_3: case OP_push_4: case OP_push_5: case OP_push_6: case OP_push_7: case OP_push_i8:
        case OP_push_i16: case OP_push_const8: case OP_push_empty_string: case OP_push_bigint_i32:
            text_push(s, text_node(s, TEXT_LITERAL, here, 0, 0, 0));
            continue;
        case OP_object: text_push(s, text_node(s, TEXT_OBJECT, here, 0, 0, 0)); continue;
        case OP_get_loc: case OP_get_loc_check: text_push(s, text_local(s, here, get_u16(at + 1))); continue;
        case OP_get_loc8: text_push(s, text_local(s, here, at[1])); continue;
        case OP_get_loc0_loc1:
            text_push(s, text_local(s, here, 0));
            text_push(s, text_local(s, here, 1));
            continue;
        case OP_get_loc0: case OP_get_loc1: case OP_get_loc2: case OP_get_loc3:
            text_push(s, text_local(s, here, op - OP_get_loc0));
            continue;
        case OP_get_arg: case OP_get_arg0: case OP_get_arg1: case OP_get_arg2: case OP_get_arg3:
            i = op == OP_get_arg ? get_u16(at + 1) : op - OP_get_arg0;
            text_push(s, text_variable(s, here, s->b->vardefs[i].var_name));
            continue;
        case OP_get_var_ref: case OP_get_var_ref_check: case OP_get_var_ref0: case OP_get_var_ref1:
        case OP_get_var_ref2: case OP_get_var_ref3:
            i = op >= OP_get_var_ref0 ? op - OP_get_var_ref0 : get_u16(at + 1);
            text_push(s, text_variable(s, here, s->b->closure_var[i].var_name));
            continue;
        case OP_get_var: case OP_get_var_undef: text_push(s, text_variable(s, here, get_u32(at + 1))); continue;
        case OP_dup: text_shuffle(s, "a", "aa"); continue;
        case OP_dup1: text_shuffle(s, "ab", "aab"); continue;
        case OP_dup2: text_shuffle(s, "ab", "abab"); continue;
        case OP_dup3: text_shuffle(s, "abc", "abcabc"); continue;
        case OP_nip: text_shuffle(s, "ab", "b"); continue;
        case OP_nip1: text_shuffle(s, "abc", "bc"); continue;
        case OP_insert2: text_shuffle(s, "ab", "bab"); continue;
        case OP_insert3: text_shuffle(s, "abc", "cabc"); continue;
        case OP_insert4: text_shuffle(s, "abcd", "dabcd"); continue;
        case OP_perm3: text_shuffle(s, "oab", "aob"); continue;
        case OP_perm4: text_shuffle(s, "opab", "aopb"); continue;
        case OP_perm5: text_shuffle(s, "topab", "atopb"); continue;
        case OP_swap: text_shuffle(s, "ab", "ba"); continue;
        case OP_swap2: text_shuffle(s, "abcd", "cdab"); continue;
        case OP_rot3l: text_shuffle(s, "xab", "abx"); continue;
        case OP_rot3r: text_shuffle(s, "abx", "xab"); continue;
        case OP_rot4l: text_shuffle(s, "xabc", "abcx"); continue;
        case OP_rot5l: text_shuffle(s, "xabcd", "abcdx"); continue;
        case OP_get_field: case OP_get_length:
            a = text_pop(s);
            text_push(s, text_node(s, is_optional ? TEXT_OPTIONAL : TEXT_FIELD, here,
                                   op == OP_get_length ? JS_ATOM_length : get_u32(at + 1), a, 0));
            continue;
        case OP_get_field2:
            b = text_node(s, is_optional ? TEXT_OPTIONAL : TEXT_FIELD, here, get_u32(at + 1), text_peek(s, 0), 0);
            text_get(s, b)->is_nested = true;
            text_push(s, b);
            continue;
        case OP_get_array_el: case OP_get_array_el2:
            b = text_pop(s);
            a = text_peek(s, 0);
            if (op == OP_get_array_el)
                text_pop(s);
            text_push(s, text_node(s, TEXT_ELEMENT, here, 0, a, b));
            continue;
        case OP_call: case OP_call0: case OP_call1: case OP_call2: case OP_call3: case OP_call_method:
        case OP_apply:
            for (i = 0; i < (op == OP_apply ? 2 : argc); i++)
                text_pop(s);
            a = text_pop(s);
            if (op == OP_call_method)
                text_pop(s);
            text_push(s, op == OP_apply && get_u16(at + 1) == 1 ? 0 : text_node(s, TEXT_CALL, here, 0, a, 0));
            continue;
        case OP_neg: case OP_plus: case OP_not: case OP_lnot: case OP_typeof:
            a = text_pop(s);
            text_push(s, text_node(s, TEXT_UNARY, here, 0, a, 0));
            continue;
        case OP_array_from:
            for (i = 0; i < argc; i++)
                text_pop(s);
            text_push(s, argc ? 0 : text_node(s, TEXT_EMPTY_ARRAY, here, 0, 0, 0));
            continue;
        case OP_define_field: /* no longer `{}` */
            text_pop(s);
            text_pop(s);
            text_push(s, 0);
            continue;
        case OP_to_object: case OP_to_propkey: case OP_check_object: case OP_set_name: case OP_nop:
            continue;
        case OP_is_undefined_or_null: /* its result goes to the jump that follows */
            continue;
        case OP_if_true: case OP_if_false: case OP_if_true8: case OP_if_false8: {
            bool is_short = op == OP_if_true8 || op == OP_if_false8;
            /* a || b: dup, if_true, drop, b. a ?? b: dup, is_undefined_or_null, if_false, drop, b. */
            text_pop(s);
            text_jump(s, here, here + 1 + (is_short ? (int8_t)at[1] : (int32_t)get_u32(at + 1)), here + 1, 0);
            continue;
        }
        case OP_goto: case OP_goto8: case OP_goto16:
            text_jump(s, here,
                      here + 1 + (op == OP_goto ? (int32_t)get_u32(at + 1)
                                                : op == OP_goto8 ? (int8_t)at[1] : (int16_t)get_u16(at + 1)), 0, 0);
            is_dead = true;
            continue;
        case OP_catch: case OP_gosub:
            text_jump(s, here, here + 1 + (int32_t)get_u32(at + 1), 0, 1);
            break;
        case OP_tail_call: case OP_tail_call_method: case OP_return: case OP_return_undef: case OP_return_async:
        case OP_throw: case OP_throw_error: case OP_ret:
            is_dead = true;
            break;
        default:
            if (text_is_binary(op)) {
                b = text_pop(s);
                a = text_pop(s);
                text_push(s, text_node(s, TEXT_BINARY, here, 0, a, b));
                continue;
            }
            break;
        }
        for (i = 0; i < popped + argc; i++)
            text_pop(s);
        for (i = 0; i < pushed; i++)
            text_push(s, 0);
    }
}

static void text_write_value(JSContext *ctx, DynBuf *out, JSValueConst value, bool is_quoted);

static void text_write_atom(JSContext *ctx, DynBuf *out, JSAtom atom)
{
    char buffer[ATOM_GET_STR_BUF_SIZE];

    dbuf_putstr(out, JS_AtomGetStr(ctx, buffer, sizeof(buffer), atom));
}

static void text_write_literal(TextScan *s, DynBuf *out, const uint8_t *at, bool is_name)
{
    JSContext *ctx = s->ctx;
    JSValue value;

    switch (*at) {
    case OP_undefined: dbuf_putstr(out, "undefined"); return;
    case OP_null: dbuf_putstr(out, "null"); return;
    case OP_push_false: dbuf_putstr(out, "false"); return;
    case OP_push_true: dbuf_putstr(out, "true"); return;
    case OP_push_empty_string: dbuf_putstr(out, is_name ? "" : "\"\""); return;
    case OP_push_i32: case OP_push_bigint_i32: dbuf_printf(out, "%d", (int32_t)get_u32(at + 1)); return;
    case OP_push_i8: dbuf_printf(out, "%d", (int8_t)at[1]); return;
    case OP_push_i16: dbuf_printf(out, "%d", (int16_t)get_u16(at + 1)); return;
    case OP_push_atom_value:
        value = JS_AtomToString(ctx, get_u32(at + 1));
        text_write_value(ctx, out, value, !is_name);
        JS_FreeValue(ctx, value);
        return;
    case OP_push_const: text_write_value(ctx, out, s->b->cpool[get_u32(at + 1)], !is_name); return;
    case OP_push_const8: text_write_value(ctx, out, s->b->cpool[at[1]], !is_name); return;
    default: dbuf_printf(out, "%d", *at - OP_push_0); return;
    }
}

/* Whether the node is a text that stands in brackets as a name would after a dot. */
static bool text_is_string(TextScan *s, TextNode *node)
{
    const uint8_t *at = s->b->byte_code_buf + node->at;

    if (node->kind != TEXT_LITERAL)
        return false;
    return *at == OP_push_atom_value || *at == OP_push_empty_string ||
           (*at == OP_push_const && JS_IsString(s->b->cpool[get_u32(at + 1)])) ||
           (*at == OP_push_const8 && JS_IsString(s->b->cpool[at[1]]));
}

static const char *text_operator(int op)
{
    static const char *const operators[] = {"*", "/", "%", "+", "-", "<<", ">>", ">>>", "&", "^", "|", "**", "<", "<=",
                                            ">", ">=", "instanceof", "in", "==", "!=", "===", "!=="};

    switch (op) {
    case OP_neg: return "-";
    case OP_plus: return "+";
    case OP_not: return "~";
    case OP_lnot: return "!";
    case OP_typeof: return "typeof ";
    default: return operators[op - OP_mul];
    }
}

static void text_write(TextScan *s, DynBuf *out, int index, int depth)
{
    TextNode *node = text_get(s, index);
    const uint8_t *code = s->b->byte_code_buf;
    size_t i;

    if (depth > TEXT_DEPTH_MAX || out->size > TEXT_BYTES_MAX)
        node = text_get(s, 0);
    switch (node->kind) {
    case TEXT_THIS: dbuf_putstr(out, "this"); return;
    case TEXT_NAME: text_write_atom(s->ctx, out, node->atom); return;
    case TEXT_LITERAL: text_write_literal(s, out, code + node->at, false); return;
    case TEXT_EMPTY_ARRAY: dbuf_putstr(out, "[]"); return;
    case TEXT_OBJECT: dbuf_putstr(out, "{}"); return;
    case TEXT_FIELD: case TEXT_OPTIONAL:
        text_write(s, out, node->a, depth + 1);
        dbuf_putstr(out, node->kind == TEXT_FIELD ? "." : "?.");
        text_write_atom(s->ctx, out, node->atom);
        return;
    case TEXT_ELEMENT:
        text_write(s, out, node->a, depth + 1);
        if (text_is_string(s, text_get(s, node->b))) {
            dbuf_putc(out, '.');
            text_write_literal(s, out, code + text_get(s, node->b)->at, true);
        } else {
            dbuf_putc(out, '[');
            text_write(s, out, node->b, depth + 1);
            dbuf_putc(out, ']');
        }
        return;
    case TEXT_CALL:
        text_write(s, out, node->a, depth + 1);
        dbuf_putstr(out, "(...)");
        return;
    case TEXT_UNARY:
        dbuf_printf(out, "(%s", text_operator(code[node->at]));
        text_write(s, out, node->a, depth + 1);
        dbuf_putc(out, ')');
        return;
    case TEXT_BINARY: case TEXT_LOGICAL: {
        const uint8_t *at = code + node->at - (node->kind == TEXT_LOGICAL);
        const char *operator = node->kind == TEXT_BINARY ? text_operator(*at)
                               : at > code && at[-1] == OP_is_undefined_or_null ? "??"
                               : *at == OP_if_true || *at == OP_if_true8 ? "||" : "&&";
        dbuf_putc(out, '(');
        text_write(s, out, node->a, depth + 1);
        dbuf_printf(out, " %s ", operator);
        text_write(s, out, node->b, depth + 1);
        dbuf_putc(out, ')');
        return;
    }
    case TEXT_LATER:
        for (i = 0; i < s->later.size / 8; i++) {
            uint32_t *pair = (uint32_t *)s->later.buf + 2 * i;
            if (pair[0] == node->at) {
                text_write(s, out, pair[1], depth + 1);
                return;
            }
        }
        break;
    case TEXT_THREE_UNKNOWN:
        dbuf_putstr(out, "(intermediate value)(intermediate value)");
        break;
    default:
        break;
    }
    dbuf_putstr(out, "(intermediate value)");
}

/* Goes on from the found node to what is handed to it by a jump back. A declaration by a pattern begins with `undefined`
   in place of its value, which is computed behind the pattern: from there a jump leads back to it. */
static TextNode *text_resolve(TextScan *s)
{
    TextNode *node = text_get(s, s->found);
    uint32_t at = s->instruction - s->b->byte_code_buf;
    size_t i;

    for (i = 0; text_is_undefined(s, s->found) && i < s->later.size / 8; i++) {
        uint32_t *pair = (uint32_t *)s->later.buf + 2 * i;
        if (pair[0] == at || (pair[0] == at - 1 && s->instruction[-1] == OP_dup)) {
            s->found = pair[1];
            return text_get(s, s->found);
        }
    }

    for (i = 0; node->kind == TEXT_LATER && i < s->later.size / 8; i++) {
        uint32_t *pair = (uint32_t *)s->later.buf + 2 * i;
        if (pair[0] == node->at)
            return text_get(s, pair[1]);
    }
    return node;
}

/* Begins a scan of the function that runs, for the value which `index_of` tells of its instruction. False if no function
   written in JavaScript runs, or the instruction takes no such value. */
static bool text_begin(TextScan *s, JSContext *ctx, int (*index_of)(const uint8_t *instruction))
{
    JSStackFrame *frame = ctx->rt->current_stack_frame;
    JSObject *p;

    s->jump_count = 0;
    if (!frame || !JS_IsObject(frame->cur_func) || !frame->cur_pc)
        return false;
    p = JS_VALUE_GET_OBJ(frame->cur_func);
    if (!js_class_has_bytecode(p->class_id) || p->u.func.function_bytecode->byte_code_len > TEXT_BYTECODE_MAX)
        return false;
    *s = (TextScan){.ctx = ctx, .b = p->u.func.function_bytecode, .found = -1};
    js_dbuf_init(ctx, &s->nodes);
    js_dbuf_init(ctx, &s->later);
    text_node(s, TEXT_UNKNOWN, 0, 0, 0, 0);
    text_scan(s, frame->cur_pc, index_of);
    return s->found >= 0;
}

static void text_end(TextScan *s)
{
    int i;

    if (!s->ctx)
        return;
    for (i = 0; i < s->jump_count; i++)
        js_free(s->ctx, s->jumps[i].stack);
    dbuf_free(&s->nodes);
    dbuf_free(&s->later);
}

/* The name of an object's class, without running anything: `#<Object>`. */
static void text_write_object(JSContext *ctx, DynBuf *out, JSObject *p)
{
    JSObject *holder = p;
    JSProperty *property;
    JSShapeProperty *shape_property;
    const char *name = NULL;

    if (p->class_id == JS_CLASS_ARRAY) {
        dbuf_putstr(out, "[object Array]");
        return;
    }
    for (; holder && !holder->is_exotic; holder = holder->shape->proto) {
        shape_property = find_own_property(&property, holder, JS_ATOM_constructor);
        if (!shape_property)
            continue;
        if ((shape_property->flags & JS_PROP_TMASK) == JS_PROP_NORMAL && JS_IsFunction(ctx, property->u.value))
            name = get_func_name(ctx, property->u.value);
        break;
    }
    dbuf_printf(out, "#<%s>", name && *name ? name : "Object");
    JS_FreeCString(ctx, name);
}

/* A value as V8 puts it into texts. */
static void text_write_value(JSContext *ctx, DynBuf *out, JSValueConst value, bool is_quoted)
{
    const char *text;
    JSValue described;

    if (JS_IsObject(value)) {
        const char *name;
        if (!JS_IsFunction(ctx, value)) {
            text_write_object(ctx, out, JS_VALUE_GET_OBJ(value));
            return;
        }
        name = get_func_name(ctx, value);
        dbuf_putstr(out, name && *name ? name : "(intermediate value)");
        JS_FreeCString(ctx, name);
        return;
    }
    described = JS_VALUE_GET_TAG(value) == JS_TAG_SYMBOL ? js_symbol_toString(ctx, value, 0, NULL)
                                                         : JS_ToString(ctx, value);
    text = JS_ToCString(ctx, described);
    if (is_quoted && JS_IsString(value))
        dbuf_putc(out, '"');
    dbuf_put(out, text ? text : "", text ? strnlen(text, TEXT_BYTES_MAX) : 0);
    if (is_quoted && JS_IsString(value))
        dbuf_putc(out, '"');
    JS_FreeCString(ctx, text);
    JS_FreeValue(ctx, described);
}

/* A value where there is no expression for it: with its type. */
static void text_write_site(JSContext *ctx, DynBuf *out, JSValueConst value)
{
    JSAtom type = js_operator_typeof(ctx, unsafe_unconst(value));

    text_write_atom(ctx, out, type);
    if (JS_IsNumber(value) || JS_IsString(value) || JS_IsBool(value) || JS_IsNull(value)) {
        dbuf_putc(out, ' ');
        text_write_value(ctx, out, value, true);
    }
}

static JSValue text_throw(JSContext *ctx, DynBuf *text, JSValue (*thrower)(JSContext *ctx, const char *format, ...),
                          const char *format)
{
    dbuf_putc(text, 0);
    if (dbuf_error(text))
        thrower(ctx, format, "");
    else
        thrower(ctx, format, text->buf);
    dbuf_free(text);
    return JS_EXCEPTION;
}

/* ---- Errors ---- */

static int text_callee_index(const uint8_t *instruction)
{
    switch (*instruction) {
    case OP_call0: case OP_call1: case OP_call2: case OP_call3: return *instruction - OP_call0;
    case OP_call: case OP_tail_call: case OP_call_method: case OP_tail_call_method: return get_u16(instruction + 1);
    case OP_call_constructor: return get_u16(instruction + 1) + 1;
    case OP_apply: return 2;
    default: return -1;
    }
}

/* "x.y is not a function" */
static JSValue js_throw_not_callable(JSContext *ctx, JSValueConst value, bool as_constructor)
{
    TextScan scan;
    DynBuf text;
    JSStackFrame *frame = ctx->rt->current_stack_frame;

    js_dbuf_init(ctx, &text);
    scan.ctx = NULL;
    if (text_begin(&scan, ctx, text_callee_index))
        text_write(&scan, &text, scan.found, 0);
    else if (scan.ctx)
        text_write_site(ctx, &text, value);
    else
        text_write_value(ctx, &text, value, false);
    text_end(&scan);
    return text_throw(ctx, &text, JS_ThrowTypeError, as_constructor ? "%s is not a constructor" : "%s is not a function");
}

static int text_iterable_index(const uint8_t *instruction)
{
    return *instruction == OP_for_of_start || *instruction == OP_append || *instruction == OP_for_await_of_start ? 0 : -1;
}

/* "x is not iterable" */
static JSValue js_throw_not_iterable(JSContext *ctx, JSValueConst value, bool as_async)
{
    TextScan scan;
    DynBuf text;
    const char *format = "%s is not iterable (cannot read property Symbol(Symbol.iterator))";

    js_dbuf_init(ctx, &text);
    scan.ctx = NULL;
    if (text_begin(&scan, ctx, text_iterable_index)) {
        TextNode *node = text_resolve(&scan);
        bool is_loop = *scan.instruction != OP_for_of_start || scan.instruction[1] == OP_goto ||
                       scan.instruction[1] == OP_goto8 || scan.instruction[1] == OP_goto16;
        if (node->kind == TEXT_CALL) {
            text_write(&scan, &text, node->a, 0);
            format = "%s is not a function or its return value is not iterable";
        } else if (node->kind != TEXT_UNKNOWN &&
                   (is_loop || node->kind == TEXT_NAME || node->kind == TEXT_LITERAL || !JS_IsUndefined(value))) {
            text_write(&scan, &text, scan.found, 0);
            format = as_async ? "%s is not async iterable" : "%s is not iterable";
        }
    }
    if (text.size == 0)
        text_write_site(ctx, &text, value);
    text_end(&scan);
    return text_throw(ctx, &text, JS_ThrowTypeError, format);
}

static int text_top_index(const uint8_t *instruction) { return *instruction == OP_to_object ? 0 : -1; }

/* "Cannot destructure property 'a' of 'b' as it is undefined." */
static JSValue js_throw_destructure(JSContext *ctx, JSValueConst value)
{
    const char *what = JS_IsNull(value) ? "null" : "undefined";
    TextScan scan;
    DynBuf text;

    js_dbuf_init(ctx, &text);
    scan.ctx = NULL;
    if (text_begin(&scan, ctx, text_top_index)) {
        TextNode *node = text_resolve(&scan);
        const uint8_t *next = scan.instruction + 1;
        JSAtom first = JS_ATOM_NULL;
        if (*next == OP_dup)
            next++;
        if (*next == OP_get_field || *next == OP_get_field2)
            first = get_u32(next + 1);
        if (node->is_nested && first != JS_ATOM_NULL) {
            dbuf_printf(&text, "Cannot read properties of %s (reading '", what);
            text_write_atom(ctx, &text, first);
            dbuf_putstr(&text, "')");
        } else {
            dbuf_putstr(&text, "Cannot destructure ");
            if (first != JS_ATOM_NULL) {
                dbuf_putstr(&text, "property '");
                text_write_atom(ctx, &text, first);
                dbuf_putstr(&text, "' of ");
            }
            dbuf_putc(&text, '\'');
            if (node->kind == TEXT_UNKNOWN)
                text_write_site(ctx, &text, value);
            else
                text_write(&scan, &text, scan.found, 0);
            dbuf_printf(&text, "' as it is %s.", what);
        }
    } else {
        dbuf_putstr(&text, "Cannot convert undefined or null to object");
    }
    text_end(&scan);
    return text_throw(ctx, &text, JS_ThrowTypeError, "%s");
}

/* "Cannot read properties of undefined (reading 'y')" */
static JSValue js_throw_access(JSContext *ctx, JSValueConst object, JSAtom name, bool is_write)
{
    const char *what = JS_IsNull(object) ? "null" : "undefined", *verb = is_write ? "set" : "read";
    JSAtomStruct *atom = __JS_AtomIsTaggedInt(name) ? NULL : ctx->rt->atom_array[name];
    DynBuf text;

    if (name == JS_ATOM_Symbol_iterator && !is_write)
        return js_throw_not_iterable(ctx, object, false);
    js_dbuf_init(ctx, &text);
    dbuf_printf(&text, "Cannot %s properties of %s (%s '", verb, what, is_write ? "setting" : "reading");
    if (atom && atom->atom_type == JS_ATOM_TYPE_SYMBOL)
        dbuf_putstr(&text, "Symbol(");
    text_write_atom(ctx, &text, name);
    if (atom && atom->atom_type == JS_ATOM_TYPE_SYMBOL)
        dbuf_putc(&text, ')');
    dbuf_putstr(&text, "')");
    return text_throw(ctx, &text, JS_ThrowTypeError, "%s");
}

/* An error about a property of an object, where there is one. `format` takes the name, then the object, in quotes with its
   type if `is_quoted`. */
static int js_throw_of_property(JSContext *ctx, int flags, const char *format, JSAtom name, JSValueConst object,
                                bool is_quoted)
{
    char buffer[ATOM_GET_STR_BUF_SIZE];
    DynBuf text;

    if (!(flags & JS_PROP_THROW) && !((flags & JS_PROP_THROW_STRICT) && is_strict_mode(ctx)))
        return false;
    js_dbuf_init(ctx, &text);
    if (is_quoted) {
        text_write_atom(ctx, &text, js_operator_typeof(ctx, unsafe_unconst(object)));
        dbuf_putstr(&text, " '");
    }
    text_write_value(ctx, &text, object, false);
    if (is_quoted)
        dbuf_putc(&text, '\'');
    dbuf_putc(&text, 0);
    JS_ThrowTypeError(ctx, format, JS_AtomGetStr(ctx, buffer, sizeof(buffer), name), text.buf);
    dbuf_free(&text);
    return -1;
}

static JSValue js_throw_of_value(JSContext *ctx, const char *format, JSValueConst value)
{
    DynBuf text;

    js_dbuf_init(ctx, &text);
    text_write_value(ctx, &text, value, false);
    return text_throw(ctx, &text, JS_ThrowTypeError, format);
}

static JSValue js_throw_of_value_in_range(JSContext *ctx, const char *format, JSValueConst value)
{
    DynBuf text;

    js_dbuf_init(ctx, &text);
    text_write_value(ctx, &text, value, false);
    return text_throw(ctx, &text, JS_ThrowRangeError, format);
}

/* "Cannot use 'in' operator to search for 'a' in 5" */
static void js_throw_in(JSContext *ctx, JSValueConst name, JSValueConst value)
{
    DynBuf text;

    js_dbuf_init(ctx, &text);
    dbuf_putstr(&text, "Cannot use 'in' operator to search for '");
    text_write_value(ctx, &text, name, false);
    dbuf_putstr(&text, "' in ");
    text_write_value(ctx, &text, value, false);
    text_throw(ctx, &text, JS_ThrowTypeError, "%s");
}

/* "String.prototype.trim called on null or undefined": of the function that runs. */
static JSValue js_throw_on_nothing(JSContext *ctx, const char *type)
{
    JSStackFrame *frame = ctx->rt->current_stack_frame;
    const char *name = frame ? get_func_name(ctx, frame->cur_func) : NULL;

    JS_ThrowTypeError(ctx, "%s.prototype.%s called on null or undefined", type, name ? name : "method");
    JS_FreeCString(ctx, name);
    return JS_EXCEPTION;
}
