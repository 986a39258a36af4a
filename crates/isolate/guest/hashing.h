/* Hashing of passwords natively, as published packages do it in JavaScript; included after values.h
   (build/toolchain.rs).

   Their functions are recognised as those of the library are, by their bytecode (src/library.rs). Two are done here: the
   mixing of a block of scrypt, and the key schedule of bcrypt, in which nearly all of the time goes. scrypt's loop
   around the mixing takes seconds, too, because it xors one block with another word by word. It is in the middle of
   functions that do more, so the platform has functions that do what those do (src/platform/hashing.js), with that one
   loop done here. They call the package's own functions for all else.

   The package's own code runs where an argument is not what the package itself passes. No built-in is called by the
   code that is done here but the one that `is_as_it_was` is asked about. Loops are as short as the arguments say, and each has
   a poll (build/module.rs), so limits of time hold. */

/* How many arguments of its own the platform's function is given at most. */
#define HASHING_ARGUMENTS_MAX 6

/* ---- Arguments ---- */

/* The words of a typed array of 32 bits, or NULL if it is another or its words can't be had (or changed, if `is_written`). */
static uint32_t *words_of(JSValueConst value, int class_id, bool is_written, uint32_t *count)
{
    JSObject *p;

    if (JS_VALUE_GET_TAG(value) != JS_TAG_OBJECT)
        return NULL;
    p = JS_VALUE_GET_OBJ(value);
    if (p->class_id != class_id || (is_written && typed_array_is_immutable(p)))
        return NULL;
    /* Both are nothing where the buffer is detached or became too short. */
    *count = p->u.array.count;
    return p->u.array.u.uint32_ptr;
}

/* A number that can be an index. */
static bool index_of(JSValueConst value, uint32_t *index)
{
    if (JS_VALUE_GET_TAG(value) == JS_TAG_INT) {
        *index = JS_VALUE_GET_INT(value);
        return JS_VALUE_GET_INT(value) >= 0;
    }
    if (JS_VALUE_GET_NORM_TAG(value) == JS_TAG_FLOAT64) {
        double number = JS_VALUE_GET_FLOAT64(value);
        if (!(number >= 0 && number <= INT32_MAX))
            return false;
        *index = (uint32_t)number;
        return *index == number;
    }
    return false;
}

/* Whether nothing that a script can change stands between a typed array of signed words and the built-in `length`. */
static bool is_bare_typed_array(JSContext *ctx, JSValueConst value)
{
    JSObject *p = JS_VALUE_GET_OBJ(value);

    return p->shape->prop_count == 0 && p->shape->proto == JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_INT32_ARRAY]);
}

static bool is_within(uint32_t begin, uint64_t length, uint32_t count)
{
    return begin + length <= count;
}

/* ---- scrypt ---- */

#define SALSA_WORDS 16

#define ROTATED(word, bits) ((word) << (bits) | (word) >> (32 - (bits)))
#define SALSA_QUARTER(a, b, c, d) \
    (x[b] ^= ROTATED(x[a] + x[d], 7), x[c] ^= ROTATED(x[b] + x[a], 9), x[d] ^= ROTATED(x[c] + x[b], 13), \
     x[a] ^= ROTATED(x[d] + x[c], 18))

/* Salsa20/8 of two blocks that are xored. All is read before anything is written, as `out` may be either of them. */
static void salsa_of_xored(const uint32_t *previous, const uint32_t *input, uint32_t *out)
{
    uint32_t x[SALSA_WORDS], y[SALSA_WORDS];
    int i;

    for (i = 0; i < SALSA_WORDS; i++)
        x[i] = y[i] = previous[i] ^ input[i];
    for (i = 0; i < 8; i += 2) {
        SALSA_QUARTER(0, 4, 8, 12);
        SALSA_QUARTER(5, 9, 13, 1);
        SALSA_QUARTER(10, 14, 2, 6);
        SALSA_QUARTER(15, 3, 7, 11);
        SALSA_QUARTER(0, 1, 2, 3);
        SALSA_QUARTER(5, 6, 7, 4);
        SALSA_QUARTER(10, 11, 8, 9);
        SALSA_QUARTER(15, 12, 13, 14);
    }
    for (i = 0; i < SALSA_WORDS; i++)
        out[i] = x[i] + y[i];
}

/* BlockMix(input, begin in it, out, begin in that, r). The order of reads and writes is the package's, so that it does not
   matter whether `input` and `out` lie over each other. */
static bool mix_block(JSValueConst *arguments)
{
    uint32_t input_begin, out_begin, r, input_count, out_count, i;
    uint32_t *input = words_of(arguments[0], JS_CLASS_UINT32_ARRAY, false, &input_count);
    uint32_t *out = words_of(arguments[2], JS_CLASS_UINT32_ARRAY, true, &out_count);
    uint32_t *head, *tail;

    if (!input || !out || !index_of(arguments[1], &input_begin) || !index_of(arguments[3], &out_begin) ||
        !index_of(arguments[4], &r) || r == 0 || !is_within(input_begin, 2 * SALSA_WORDS * (uint64_t)r, input_count) ||
        !is_within(out_begin, 2 * SALSA_WORDS * (uint64_t)r, out_count))
        return false;
    input += input_begin;
    head = out + out_begin;
    tail = head + SALSA_WORDS * r;
    for (i = 0; i < SALSA_WORDS; i++)
        tail[i] = input[(2 * r - 1) * SALSA_WORDS + i];
    for (i = 0; i < r; i++) {
        salsa_of_xored(tail, input, head);
        if (i > 0)
            tail += SALSA_WORDS;
        salsa_of_xored(head, input + SALSA_WORDS, tail);
        head += SALSA_WORDS;
        input += 2 * SALSA_WORDS;
    }
    return true;
}

/* xorWords(target, first, begin in it, second, begin in that, count): `target` begins with `count` words of both, xored. Says whether
   it was done; if not, nothing was. */
JSValue JS_XorWords(JSContext *ctx, JSValueConst *arguments)
{
    uint32_t first_begin, second_begin, count, target_count, first_count, second_count, i;
    uint32_t *target = words_of(arguments[0], JS_CLASS_UINT32_ARRAY, true, &target_count);
    uint32_t *first = words_of(arguments[1], JS_CLASS_UINT32_ARRAY, false, &first_count);
    uint32_t *second = words_of(arguments[3], JS_CLASS_UINT32_ARRAY, false, &second_count);

    if (!target || !first || !second || !index_of(arguments[2], &first_begin) ||
        !index_of(arguments[4], &second_begin) || !index_of(arguments[5], &count) || count > target_count ||
        !is_within(first_begin, count, first_count) || !is_within(second_begin, count, second_count))
        return JS_FALSE;
    for (i = 0; i < count; i++)
        target[i] = first[first_begin + i] ^ second[second_begin + i];
    return JS_TRUE;
}

/* ---- bcrypt ---- */

#define BLOWFISH_ROUNDS 16
#define BLOWFISH_SUBKEYS (BLOWFISH_ROUNDS + 2)
#define BLOWFISH_BOXES 1024

static void blowfish_encipher(uint32_t block[2], const uint32_t *subkeys, const uint32_t *boxes)
{
    uint32_t left = block[0] ^ subkeys[0], right = block[1], n;
    int i;

    for (i = 1; i <= BLOWFISH_ROUNDS; i += 2) {
        n = boxes[left >> 24] + boxes[0x100 | (left >> 16 & 0xff)];
        n = (n ^ boxes[0x200 | (left >> 8 & 0xff)]) + boxes[0x300 | (left & 0xff)];
        right ^= n ^ subkeys[i];
        n = boxes[right >> 24] + boxes[0x100 | (right >> 16 & 0xff)];
        n = (n ^ boxes[0x200 | (right >> 8 & 0xff)]) + boxes[0x300 | (right & 0xff)];
        left ^= n ^ subkeys[i + 1];
    }
    block[0] = right ^ subkeys[BLOWFISH_ROUNDS + 1];
    block[1] = left;
}

/* _key(key, P, S) */
static bool schedule_key(JSContext *ctx, JSValueConst *arguments)
{
    uint32_t subkey_count, box_count, key_count, block[2] = {0, 0}, i, k, at = 0;
    uint32_t *subkeys = words_of(arguments[1], JS_CLASS_INT32_ARRAY, true, &subkey_count);
    uint32_t *boxes = words_of(arguments[2], JS_CLASS_INT32_ARRAY, true, &box_count);
    JSObject *key;

    if (!subkeys || !boxes || subkey_count != BLOWFISH_SUBKEYS || box_count != BLOWFISH_BOXES ||
        !(subkeys + BLOWFISH_SUBKEYS <= boxes || boxes + BLOWFISH_BOXES <= subkeys) ||
        !is_bare_typed_array(ctx, arguments[1]) || !is_bare_typed_array(ctx, arguments[2]))
        return false;
    if (JS_VALUE_GET_TAG(arguments[0]) != JS_TAG_OBJECT)
        return false;
    key = JS_VALUE_GET_OBJ(arguments[0]);
    if (key->class_id != JS_CLASS_ARRAY || !key->fast_array || key->u.array.count == 0 ||
        JS_VALUE_GET_TAG(key->prop[0].u.value) != JS_TAG_INT || JS_VALUE_GET_INT(key->prop[0].u.value) != key->u.array.count)
        return false;
    key_count = key->u.array.count;
    for (i = 0; i < min_int(key_count, 4 * BLOWFISH_SUBKEYS); i++)
        if (JS_VALUE_GET_TAG(key->u.array.u.values[i]) != JS_TAG_INT)
            return false;
    for (i = 0; i < BLOWFISH_SUBKEYS; i++) {
        uint32_t word = 0;
        for (k = 0; k < 4; k++) {
            word = word << 8 | (JS_VALUE_GET_INT(key->u.array.u.values[at]) & 0xff);
            at = at + 1 == key_count ? 0 : at + 1;
        }
        subkeys[i] ^= word;
    }
    for (i = 0; i < BLOWFISH_SUBKEYS; i += 2) {
        blowfish_encipher(block, subkeys, boxes);
        subkeys[i] = block[0];
        subkeys[i + 1] = block[1];
    }
    for (i = 0; i < BLOWFISH_BOXES; i += 2) {
        blowfish_encipher(block, subkeys, boxes);
        boxes[i] = block[0];
        boxes[i + 1] = block[1];
    }
    return true;
}

/* ---- Calls ---- */

/* What stands for a package's function, exported by src/platform/hashing.js. */
typedef enum { SCRYPT_IN_STEPS, SCRYPT_AT_ONCE, SCRYPT_STEP, HASHING_PLATFORM_FUNCTIONS } HashingPlatformFunction;

static JSValue hashing_functions[HASHING_PLATFORM_FUNCTIONS] = {JS_UNDEFINED, JS_UNDEFINED, JS_UNDEFINED};
static JSAtom atom_N, atom_r, atom_p, atom_dkLen;
/* Where what follows begins among `built_ins`. */
static int built_ins_of_scrypt, built_ins_of_bcrypt;

/* Notes the built-ins that the packages' code uses where it is done here, and the platform's part of it. */
void JS_WatchHashing(JSContext *ctx, JSValueConst exports)
{
    static const char *const names[HASHING_PLATFORM_FUNCTIONS] = {"scryptInSteps", "scryptAtOnce", "scryptStep"};
    JSObject *words = JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_INT32_ARRAY]);
    int i;

    for (i = 0; i < HASHING_PLATFORM_FUNCTIONS; i++)
        hashing_functions[i] = JS_GetPropertyStr(ctx, exports, names[i]);
    atom_N = JS_NewAtom(ctx, "N");
    atom_r = JS_NewAtom(ctx, "r");
    atom_p = JS_NewAtom(ctx, "p");
    atom_dkLen = JS_NewAtom(ctx, "dkLen");
    built_ins_of_scrypt = built_in_count;
    watch_named(ctx, ctx->global_obj, "Promise");
    watch(ctx, ctx->class_proto[JS_CLASS_PROMISE], JS_ATOM_constructor);
    built_ins_of_bcrypt = built_in_count;
    /* The getter that the second has throws if it is called for a prototype. */
    watch_made(words, JS_ATOM_length);
    watch_made(words->shape->proto, JS_ATOM_length);
}

/* Calls the platform's function in place of a package's: with a number that says more of what it stands for, with variables of the
   closure of the package's function, and with its arguments. */
static JSValue call_in_place(JSContext *ctx, HashingPlatformFunction in_place, int32_t number, JSObject *function, const LibraryFunction *f,
                             int count, JSValueConst *arguments)
{
    JSValue values[1 + LIBRARY_VARIABLES_MAX + HASHING_ARGUMENTS_MAX], result = JS_UNINITIALIZED;
    int given = 0, i;

    values[given++] = js_int32(number);
    for (i = 0; i < LIBRARY_VARIABLES_MAX && f->variables[i] >= 0; i++) {
        JSValueConst value;
        if (f->variables[i] >= function->u.func.function_bytecode->closure_var_count)
            goto done;
        value = *function->u.func.var_refs[f->variables[i]]->pvalue;
        if (JS_IsUninitialized(value))
            goto done;
        values[given++] = js_dup(value);
    }
    for (i = 0; i < count; i++)
        values[given++] = js_dup(arguments[i]);
    result = JS_Call(ctx, hashing_functions[in_place], JS_UNDEFINED, given, vc(values));
done:
    while (given > 0)
        JS_FreeValue(ctx, values[--given]);
    return result;
}

/* A number of an object's own that is read without anyone noticing. */
static bool option_of(JSObject *options, JSAtom name, int32_t *number)
{
    JSProperty *property;
    JSShapeProperty *shape_property = find_own_property(&property, options, name);

    if (!shape_property || (shape_property->flags & JS_PROP_TMASK) != JS_PROP_NORMAL ||
        JS_VALUE_GET_TAG(property->u.value) != JS_TAG_INT)
        return false;
    *number = JS_VALUE_GET_INT(property->u.value);
    return true;
}

/* A call of lucia's scrypt(password, salt, options): the platform's promise, or JS_UNINITIALIZED if its own code must run.
   That has the errors about parameters. */
static JSValue js_scrypt_in_steps(JSContext *ctx, JSObject *function, const LibraryFunction *f, int count, JSValueConst *arguments)
{
    JSValueConst passed[HASHING_ARGUMENTS_MAX];
    JSObject *options;
    int32_t N, r, p, length = 32;
    int i;

    if (count < 3 || JS_VALUE_GET_TAG(arguments[2]) != JS_TAG_OBJECT)
        return JS_UNINITIALIZED;
    options = JS_VALUE_GET_OBJ(arguments[2]);
    if (options->class_id != JS_CLASS_OBJECT || options->is_exotic || !option_of(options, atom_N, &N) ||
        !option_of(options, atom_r, &r) || !option_of(options, atom_p, &p))
        return JS_UNINITIALIZED;
    if (!option_of(options, atom_dkLen, &length) &&
        (find_own_property1(options, atom_dkLen) || options->shape->proto != JS_VALUE_GET_OBJ(ctx->class_proto[JS_CLASS_OBJECT]) ||
         find_own_property1(options->shape->proto, atom_dkLen)))
        return JS_UNINITIALIZED;
    if (N < 2 || (N & (N - 1)) || r < 1 || p < 1 || length < 0 || (r == 1 && N >= 1 << 16) ||
        (int64_t)r * ((int64_t)N + p) > ((1 << 30) + 1024) / 128)
        return JS_UNINITIALIZED;
    for (i = built_ins_of_scrypt; i < built_ins_of_bcrypt; i++)
        if (!is_as_it_was(&built_ins[i]))
            return JS_UNINITIALIZED;
    if (JS_VALUE_GET_OBJ(ctx->global_var_obj)->shape->prop_count != 0)
        return JS_UNINITIALIZED;
    passed[0] = arguments[0];
    passed[1] = arguments[1];
    passed[2] = js_int32(N);
    passed[3] = js_int32(r);
    passed[4] = js_int32(p);
    passed[5] = js_int32(length);
    return call_in_place(ctx, SCRYPT_IN_STEPS, 0, function, f, HASHING_ARGUMENTS_MAX, passed);
}

/* A call of any other function of these packages: its result, or JS_UNINITIALIZED if its own code must run. */
static JSValue js_call_hashing(JSContext *ctx, JSObject *function, const LibraryFunction *f, int count, JSValueConst *arguments)
{
    JSValueConst passed[3] = {JS_UNDEFINED, JS_UNDEFINED, JS_UNDEFINED};
    JSValueConst rounds;
    JSObject *callee;
    int i;

    if (js_check_stack_overflow(ctx->rt, 1 << 16))
        return JS_UNINITIALIZED;
    switch (f->kind) {
    case LIBRARY_BLOCK_MIX:
        callee = library_callee(function, f->variables[0], LIBRARY_SALSA);
        if (count < 5 || !callee || !library_callee(callee, library_functions[callee->u.func.function_bytecode->library_function].variables[0], LIBRARY_ROTATE) ||
            !mix_block(arguments))
            return JS_UNINITIALIZED;
        return JS_UNDEFINED;
    case LIBRARY_SCRYPT_AT_ONCE:
    case LIBRARY_SCRYPT_AT_ONCE_MASKED:
        for (i = 0; i < min_int(count, 3); i++)
            passed[i] = arguments[i];
        return call_in_place(ctx, SCRYPT_AT_ONCE, f->kind == LIBRARY_SCRYPT_AT_ONCE_MASKED, function, f, 3, passed);
    case LIBRARY_SCRYPT_STEP:
    case LIBRARY_SCRYPT_STEP_MASKED:
        return call_in_place(ctx, SCRYPT_STEP, f->kind == LIBRARY_SCRYPT_STEP_MASKED, function, f, 0, NULL);
    case LIBRARY_KEY:
        callee = library_callee(function, f->variables[1], LIBRARY_ENCIPHER);
        if (count < 3 || !callee || !library_callee(function, f->variables[0], LIBRARY_STREAM_TO_WORD))
            return JS_UNINITIALIZED;
        rounds = *callee->u.func.var_refs[library_functions[callee->u.func.function_bytecode->library_function].variables[0]]->pvalue;
        if (JS_VALUE_GET_TAG(rounds) != JS_TAG_INT || JS_VALUE_GET_INT(rounds) != BLOWFISH_ROUNDS)
            return JS_UNINITIALIZED;
        for (i = built_ins_of_bcrypt; i < built_in_count; i++)
            if (!is_as_it_was(&built_ins[i]))
                return JS_UNINITIALIZED;
        return schedule_key(ctx, arguments) ? JS_UNDEFINED : JS_UNINITIALIZED;
    default:
        return JS_UNINITIALIZED;
    }
}
