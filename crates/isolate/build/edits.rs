//! What we change in the engine's sources before they are compiled, and why.
//!
//! An edit names the text it replaces and how often that text must occur. Any other count fails the build: after an
//! upgrade of the engine each edit has to be looked at again.

/// Replaces a text in one source file.
pub struct Edit {
    pub file: &'static str,
    pub find: &'static str,
    pub replace: &'static str,
    /// How often `find` must occur; every occurrence is replaced.
    pub times: usize,
}

#[path = "edits/stacks.rs"]
mod stacks;
#[path = "edits/texts.rs"]
mod texts;

/// Applies the edits of `file` to its text, in order.
pub fn apply(file: &str, text: String) -> Result<String, String> {
    EDITS.iter().chain(stacks::EDITS).chain(texts::EDITS).filter(|edit| edit.file == file).try_fold(text, |text, edit| {
        let found = text.matches(edit.find).count();
        if found != edit.times {
            return Err(format!(
                "{file}: expected {} occurrence(s) of {:?}, found {found}; the engine changed, so the edit in \
                 build/edits.rs must be reviewed",
                edit.times, edit.find
            ));
        }
        Ok(text.replace(edit.find, edit.replace))
    })
}

pub const EDITS: &[Edit] = &[
    // ---- Freezing the image ----
    //
    // When the image is sealed, everything in it becomes immortal: its reference counts stop moving and the cycle
    // collector never looks at it again. Otherwise each call would write to the pages of all it touches, and one
    // collection inside a call of a large app would visit, and copy, the whole image.
    //
    // A count is immortal from IMMORTAL upwards. Counting skips such counts, in both directions. The first edits
    // bring every `++` and `--` of a count to the two macros, before the macros exist.
    Edit { file: "quickjs.c", find: "JS_REF_COUNT(p)++", replace: "JS_COUNT_UP(p)", times: 8 },
    Edit { file: "quickjs.c", find: "JS_REF_COUNT(ctx)++", replace: "JS_COUNT_UP(ctx)", times: 1 },
    Edit { file: "quickjs.c", find: "JS_REF_COUNT(sh)++", replace: "JS_COUNT_UP(sh)", times: 1 },
    Edit { file: "quickjs.c", find: "JS_REF_COUNT(s)++", replace: "JS_COUNT_UP(s)", times: 1 },
    Edit { file: "quickjs.c", find: "JS_REF_COUNT(b)++", replace: "JS_COUNT_UP(b)", times: 1 },
    Edit { file: "quickjs.c", find: "JS_REF_COUNT(var_ref)++", replace: "JS_COUNT_UP(var_ref)", times: 6 },
    Edit {
        file: "quickjs.c",
        find: "JS_REF_COUNT(sf->cur_gc_obj)++",
        replace: "JS_COUNT_UP(sf->cur_gc_obj)",
        times: 1,
    },
    Edit { file: "quickjs.c", find: "--JS_REF_COUNT(", replace: "JS_COUNT_DOWN(", times: 7 },
    Edit { file: "quickjs.c", find: "JS_REF_COUNT(p)--", replace: "JS_COUNT_DOWN(p)", times: 1 },
    Edit { file: "quickjs.c", find: "JS_REF_COUNT(str)--", replace: "JS_COUNT_DOWN(str)", times: 1 },
    Edit {
        file: "quickjs.c",
        find: "#define JS_REF_COUNT(p) (js_rc(p)->ref_count)\n",
        replace: "#define JS_REF_COUNT(p) (js_rc(p)->ref_count)\n\
                  #define JS_IMMORTAL 0x40000000\n\
                  #define JS_COUNT_UP(p) \
                  ((void)(__builtin_expect(JS_REF_COUNT(p) < JS_IMMORTAL, 1) ? ++JS_REF_COUNT(p) : 0))\n\
                  #define JS_COUNT_DOWN(p) \
                  (__builtin_expect(JS_REF_COUNT(p) < JS_IMMORTAL, 1) ? --JS_REF_COUNT(p) : JS_IMMORTAL)\n\
                  static bool js_is_sealed, js_has_small_arena[JS_ARENA_BLOCK_SIZE_COUNT];\n\
                  static size_t js_sealed_size, js_collect_after;\n",
        times: 1,
    },
    // After sealing, the first arena of each size class is small. There are 31 classes; full arenas of 4 KiB would
    // have a short call touch 31 pages for a few objects of each size.
    Edit {
        file: "quickjs.c",
        find: "    n_blocks = (JS_ARENA_SIZE - sizeof(JSArena)) / block_size;\n",
        replace: "    n_blocks = (JS_ARENA_SIZE - sizeof(JSArena)) / block_size;\n\
                  \x20   if (js_is_sealed && !js_has_small_arena[block_size_idx]) {\n\
                  \x20       js_has_small_arena[block_size_idx] = true;\n\
                  \x20       n_blocks = max_int((768 - (int)sizeof(JSArena)) / block_size, 1);\n\
                  \x20   }\n",
        times: 1,
    },
    // The next collection is due by what was allocated since sealing. By the size of everything, as it stands, a
    // large image would put it off for ever, and a call's cyclic garbage would hit its memory limit.
    Edit {
        file: "quickjs.c",
        find: "        rt->malloc_gc_threshold = rt->malloc_state.malloc_size +\n\
               \x20           (rt->malloc_state.malloc_size >> 1);\n",
        replace: "        rt->malloc_gc_threshold = rt->malloc_state.malloc_size + js_collect_after +\n\
                  \x20           (rt->malloc_state.malloc_size > js_sealed_size\n\
                  \x20                ? (rt->malloc_state.malloc_size - js_sealed_size) >> 1 : 0);\n",
        times: 1,
    },
    // ---- The asynchronous context ----
    //
    // `AsyncLocalStorage` needs a value that follows the flow of control through `await` and `then`. A reaction keeps
    // the value that was current where it was made, and runs with it.
    Edit {
        file: "quickjs.c",
        find: "    JSValue resolving_funcs[2];\n    JSValue handler;\n} JSPromiseReactionData;\n",
        replace: "    JSValue resolving_funcs[2];\n    JSValue handler;\n    JSValue context;\n\
                  } JSPromiseReactionData;\n\
                  static JSValue js_async_context = JS_UNDEFINED;\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    JS_FreeValueRT(rt, rd->handler);\n",
        replace: "    JS_FreeValueRT(rt, rd->handler);\n    JS_FreeValueRT(rt, rd->context);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "            JS_MarkValue(rt, rd->handler, mark_func);\n",
        replace: "            JS_MarkValue(rt, rd->handler, mark_func);\n\
                  \x20           JS_MarkValue(rt, rd->context, mark_func);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "        rd->handler = js_dup(handler);\n",
        replace: "        rd->handler = js_dup(handler);\n        rd->context = js_dup(js_async_context);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    JSPromiseReactionData *rd;\n    JSValueConst args[5];\n",
        replace: "    JSPromiseReactionData *rd;\n    JSValueConst args[6];\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "        JSValueConst args[5];\n        call_promise_rejection_tracker(",
        replace: "        JSValueConst args[6];\n        call_promise_rejection_tracker(",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "        JS_EnqueueJob(ctx, promise_reaction_job, 5, args);\n",
        replace: "        args[5] = rd->context;\n\
                  \x20       JS_EnqueueJob(ctx, promise_reaction_job, 6, args);\n",
        times: 2,
    },
    Edit {
        file: "quickjs.c",
        find: "static JSValue promise_reaction_job(JSContext *ctx, int argc,\n\
               \x20                                   JSValueConst *argv)\n{\n",
        replace: "static JSValue run_promise_reaction(JSContext *ctx, int argc, JSValueConst *argv);\n\
                  static JSValue promise_reaction_job(JSContext *ctx, int argc, JSValueConst *argv)\n{\n\
                  \x20   JSValue outer = js_async_context;\n\
                  \x20   JSValue result;\n\
                  \x20   js_async_context = js_dup(argv[5]);\n\
                  \x20   result = run_promise_reaction(ctx, 5, argv);\n\
                  \x20   JS_FreeValue(ctx, js_async_context);\n\
                  \x20   js_async_context = outer;\n\
                  \x20   return result;\n}\n\n\
                  static JSValue run_promise_reaction(JSContext *ctx, int argc, JSValueConst *argv)\n{\n",
        times: 1,
    },
    // ---- Compatibility with what npm packages expect of V8 ----
    //
    // `f(...array)` and `f.apply(null, array)` take 500,000 arguments, not 65,535: V8 takes some 120,000 on its
    // default stack, and `Math.max(...large)` or `push(...large)` are common. The stack check below still holds.
    Edit {
        file: "quickjs.c",
        find: "    if (len > JS_MAX_LOCAL_VARS) {\n",
        replace: "    if (len > 500000) {\n",
        times: 1,
    },
    // A pattern that is anchored by `^`, without an alternative beside it, can only match where the search begins.
    // The engine would try every position: quadratic for the tokenizers of parsers (60 KB of Markdown: 3.3 s, with
    // this 0.1 s). `is_sticky` here only leaves out the loop over positions.
    Edit {
        file: "libregexp.c",
        find: "    if (!is_sticky) {\n        /* iterate thru all positions",
        replace: "    if (!is_sticky && !(re_flags & LRE_FLAG_MULTILINE) && buf_len > 1 && buf[0] == '^' &&\n\
                  \x20       !strchr(\"*?{+\", buf[1])) {\n\
                  \x20       bool has_alternative = false;\n\
                  \x20       int group_depth = 0, class_depth = 0;\n\
                  \x20       for (size_t i = 0; i < buf_len && !has_alternative; i++) {\n\
                  \x20           switch (buf[i]) {\n\
                  \x20           case '\\\\': i++; break;\n\
                  \x20           case '[': if (!class_depth || s->unicode_sets) class_depth++; break;\n\
                  \x20           case ']': if (class_depth) class_depth--; break;\n\
                  \x20           case '(': if (!class_depth) group_depth++; break;\n\
                  \x20           case ')': if (!class_depth) group_depth--; break;\n\
                  \x20           case '|': has_alternative = !class_depth && !group_depth; break;\n\
                  \x20           }\n\
                  \x20       }\n\
                  \x20       if (!has_alternative)\n\
                  \x20           is_sticky = true;\n\
                  \x20   }\n\
                  \x20   if (!is_sticky) {\n        /* iterate thru all positions",
        times: 1,
    },
    // ---- Speed of async functions, of which a short call of the library runs dozens ----
    //
    // The promise of an async function is settled by the function alone, so it needs none of the two JavaScript functions,
    // with name and length, that `new Promise` hands out.
    Edit {
        file: "quickjs.c",
        find: "static bool js_async_function_resume(JSContext *ctx, JSAsyncFunctionData *s)\n{\n",
        replace: "JSValue JS_NewPendingPromise(JSContext *ctx);\n\
                  static JSValue js_promise_end(JSContext *ctx, JSValueConst promise, JSValueConst value, \
                  bool is_reject);\n\
                  static bool js_async_function_resume(JSContext *ctx, JSAsyncFunctionData *s)\n{\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    promise = JS_NewPromiseCapability(ctx, s->resolving_funcs);\n\
               \x20   if (JS_IsException(promise))\n        goto fail;\n\n\
               \x20   if (async_func_init(",
        replace: "    promise = JS_NewPendingPromise(ctx);\n\
                  \x20   if (JS_IsException(promise))\n        goto fail;\n\
                  \x20   s->resolving_funcs[0] = js_dup(promise);\n\n\
                  \x20   if (async_func_init(",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "            ret2 = JS_Call(ctx, s->resolving_funcs[1], JS_UNDEFINED,\n\
               \x20                          1, vc(&error));\n",
        replace: "            ret2 = js_promise_end(ctx, s->resolving_funcs[0], error, true);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "            ret2 = JS_Call(ctx, s->resolving_funcs[0], JS_UNDEFINED,\n\
               \x20                          1, vc(&value));\n",
        replace: "            ret2 = js_promise_end(ctx, s->resolving_funcs[0], value, false);\n",
        times: 1,
    },
    // The same holds for `Promise.resolve` and `Promise.reject`, and so for `await` of what is no promise.
    Edit {
        file: "quickjs.c",
        find: "    result_promise = js_new_promise_capability(ctx, resolving_funcs, this_val);\n\
               \x20   if (JS_IsException(result_promise))\n        return result_promise;\n\
               \x20   ret = JS_Call(ctx, resolving_funcs[is_reject], JS_UNDEFINED, 1, argv);\n",
        replace: "    if (js_same_value(ctx, this_val, ctx->promise_ctor)) {\n\
                  \x20       result_promise = JS_NewPendingPromise(ctx);\n\
                  \x20       if (!JS_IsException(result_promise))\n\
                  \x20           JS_FreeValue(ctx, js_promise_end(ctx, result_promise, argv[0], is_reject));\n\
                  \x20       return result_promise;\n\
                  \x20   }\n\
                  \x20   result_promise = js_new_promise_capability(ctx, resolving_funcs, this_val);\n\
                  \x20   if (JS_IsException(result_promise))\n        return result_promise;\n\
                  \x20   ret = JS_Call(ctx, resolving_funcs[is_reject], JS_UNDEFINED, 1, argv);\n",
        times: 1,
    },
    // `await` waits by one object for both outcomes: the job that goes on knows which it was, and hands it over in place
    // of the flags of a call.
    Edit {
        file: "quickjs.c",
        find: "            if (js_async_function_resolve_create(ctx, s, resolving_funcs)) {\n\
               \x20               JS_FreeValue(ctx, promise);\n                goto fail;\n            }\n",
        replace: "            resolving_funcs[0] =\n\
                  \x20               JS_NewObjectProtoClass(ctx, ctx->function_proto, JS_CLASS_ASYNC_FUNCTION_RESOLVE);\n\
                  \x20           if (JS_IsException(resolving_funcs[0])) {\n\
                  \x20               JS_FreeValue(ctx, promise);\n                goto fail;\n            }\n\
                  \x20           JS_COUNT_UP(s);\n\
                  \x20           JS_VALUE_GET_OBJ(resolving_funcs[0])->u.async_function_data = s;\n\
                  \x20           resolving_funcs[1] = js_dup(resolving_funcs[0]);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    bool is_reject = p->class_id - JS_CLASS_ASYNC_FUNCTION_RESOLVE;\n",
        replace: "    bool is_reject = flags;\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    if (JS_IsUndefined(handler)) {\n        if (is_reject) {\n            res = JS_Throw(ctx, js_dup(arg));\n",
        replace: "    if (JS_VALUE_GET_TAG(handler) == JS_TAG_OBJECT &&\n\
                  \x20       JS_VALUE_GET_OBJ(handler)->class_id == JS_CLASS_ASYNC_FUNCTION_RESOLVE)\n\
                  \x20       return js_async_function_resolve_call(ctx, handler, JS_UNDEFINED, 1, &arg, is_reject);\n\
                  \x20   if (JS_IsUndefined(handler)) {\n        if (is_reject) {\n            res = JS_Throw(ctx, js_dup(arg));\n",
        times: 1,
    },
    // ---- Speed of JSON, in which functions and their host talk ----
    //
    // Plain data is written in one pass (guest/json.h).
    Edit {
        file: "quickjs.c",
        find: "    jsc->replacer_func = JS_UNDEFINED;\n    jsc->stack = JS_UNDEFINED;\n",
        replace: "    if ((JS_IsUndefined(replacer) || JS_IsNull(replacer)) && JS_IsUndefined(space0)) {\n\
                  \x20       ret = json_stringify_plain(ctx, obj);\n\
                  \x20       if (!JS_IsUndefined(ret))\n\
                  \x20           return ret;\n\
                  \x20   }\n\
                  \x20   jsc->replacer_func = JS_UNDEFINED;\n    jsc->stack = JS_UNDEFINED;\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "JSValue JS_JSONStringify(JSContext *ctx, JSValueConst obj,\n\
               \x20                        JSValueConst replacer, JSValueConst space0)\n{\n",
        replace: "static JSValue json_stringify_plain(JSContext *ctx, JSValueConst value);\n\
                  JSValue JS_JSONStringify(JSContext *ctx, JSValueConst obj,\n\
                  \x20                        JSValueConst replacer, JSValueConst space0)\n{\n",
        times: 1,
    },
    // A property of a parsed object is new, unless its name occurs twice: it needs no checks of what it replaces.
    Edit {
        file: "quickjs.c",
        find: "                    ret = JS_DefinePropertyValue(ctx, val, prop_name,\n\
               \x20                                                prop_val, JS_PROP_C_W_E);\n\
               \x20                   JS_FreeAtom(ctx, prop_name);\n\
               \x20                   if (ret < 0)\n",
        replace: "                    JSProperty *property;\n\
                  \x20                   if (find_own_property(&property, JS_VALUE_GET_OBJ(val), prop_name)) {\n\
                  \x20                       ret = JS_DefinePropertyValue(ctx, val, prop_name, prop_val, JS_PROP_C_W_E);\n\
                  \x20                   } else {\n\
                  \x20                       property = add_property(ctx, JS_VALUE_GET_OBJ(val), prop_name, JS_PROP_C_W_E);\n\
                  \x20                       ret = property ? 0 : -1;\n\
                  \x20                       if (property)\n\
                  \x20                           property->u.value = prop_val;\n\
                  \x20                       else\n\
                  \x20                           JS_FreeValue(ctx, prop_val);\n\
                  \x20                   }\n\
                  \x20                   JS_FreeAtom(ctx, prop_name);\n\
                  \x20                   if (ret < 0)\n",
        times: 1,
    },
    // A string of plain ASCII is made at once, and a short integer is not read as a fraction. One that is most of the text
    // is a part of it: of an argument with 16 MiB of bytes there would be two copies as base64.
    Edit {
        file: "quickjs.c",
        find: "static int json_parse_string(JSParseState *s, const uint8_t **pp)\n{\n",
        replace: "/* The string that is being parsed, if the text is its own. */\n\
                  static JSString *js_json_text;\n\
                  #define JS_JSON_SHARE_CHARS_MIN 65536\n\
                  static int json_parse_string(JSParseState *s, const uint8_t **pp)\n{\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "        obj = JS_ParseJSON_internal(ctx, str, len, \"<input>\", NULL);\n",
        replace: "        JSString *flat = JS_VALUE_GET_STRING(argv[0]);\n\
                  \x20       if (JS_VALUE_GET_TAG(argv[0]) == JS_TAG_STRING && flat->kind == JS_STRING_KIND_NORMAL &&\n\
                  \x20           (const char *)str8(flat) == str)\n\
                  \x20           js_json_text = flat;\n\
                  \x20       obj = JS_ParseJSON_internal(ctx, str, len, \"<input>\", NULL);\n\
                  \x20       js_json_text = NULL;\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    if (string_buffer_init(s->ctx, b, 48))\n        goto fail;\n\n    p = *pp;\n",
        replace: "    p = *pp;\n\
                  \x20   while (p < s->buf_end && *p != '\"' && *p != '\\\\' && *p >= 0x20 && *p < 0x80)\n\
                  \x20       p++;\n\
                  \x20   if (p < s->buf_end && *p == '\"') {\n\
                  \x20       JSString *whole = p - *pp >= JS_JSON_SHARE_CHARS_MIN ? js_json_text : NULL;\n\
                  \x20       JSValue text = whole && (p - *pp) * 2 > whole->len\n\
                  \x20           ? js_sub_string(s->ctx, whole, *pp - str8(whole), p - str8(whole))\n\
                  \x20           : js_new_string8_len(s->ctx, (const char *)*pp, p - *pp);\n\
                  \x20       if (JS_IsException(text))\n\
                  \x20           return -1;\n\
                  \x20       s->token.val = TOK_STRING;\n\
                  \x20       s->token.u.str.sep = '\"';\n\
                  \x20       s->token.u.str.str = text;\n\
                  \x20       *pp = p + 1;\n\
                  \x20       return 0;\n\
                  \x20   }\n\
                  \x20   if (string_buffer_init(s->ctx, b, 48))\n        goto fail;\n\n    p = *pp;\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    s->token.u.num.val = js_float64(strtod((const char *)p_start, NULL));\n    *pp = p;\n",
        replace: "    int32_t integer = 0;\n\
                  \x20   const uint8_t *digit = p_start;\n\
                  \x20   while (digit < p && digit - p_start < 9 && is_digit(*digit))\n\
                  \x20       integer = integer * 10 + (*digit++ - '0');\n\
                  \x20   s->token.u.num.val = digit == p ? js_int32(integer)\n\
                  \x20                                   : js_float64(strtod((const char *)p_start, NULL));\n\
                  \x20   *pp = p;\n",
        times: 1,
    },
    // ---- The published library's conversion of values (guest/values.h), and hashing (guest/hashing.h) ----
    Edit {
        file: "quickjs.c",
        find: "    /* XXX: 5 bits available */\n    uint8_t *byte_code_buf;",
        replace: "    uint8_t library_function : 5;\n    uint8_t *byte_code_buf;",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    b = p->u.func.function_bytecode;\n\n    if (unlikely(argc < b->arg_count",
        replace: "    b = p->u.func.function_bytecode;\n\
                  \x20   if (unlikely(b->library_function) && !(flags & JS_CALL_FLAG_CONSTRUCTOR)) {\n\
                  \x20       ret_val = js_call_library(b->realm, p, argc, argv);\n\
                  \x20       if (!JS_IsUninitialized(ret_val))\n\
                  \x20           return ret_val;\n\
                  \x20   }\n\n\
                  \x20   if (unlikely(argc < b->arg_count",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    JSValue promise;\n    JSAsyncFunctionData *s;\n\n    s = js_mallocz(",
        replace: "    JSValue promise;\n    JSAsyncFunctionData *s;\n\n\
                  \x20   if (unlikely(JS_VALUE_GET_OBJ(func_obj)->u.func.function_bytecode->library_function)) {\n\
                  \x20       promise = js_call_async_library(ctx, JS_VALUE_GET_OBJ(func_obj), this_obj, argc, argv);\n\
                  \x20       if (!JS_IsUninitialized(promise))\n\
                  \x20           return promise;\n\
                  \x20   }\n\
                  \x20   s = js_mallocz(",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "static JSValue JS_CallInternal(JSContext *caller_ctx, JSValueConst func_obj,\n",
        replace: "static JSValue js_call_library(JSContext *ctx, JSObject *function, int count, JSValueConst *arguments);\n\
                  static JSValue js_call_async_library(JSContext *ctx, JSObject *function, \
                  JSValueConst this_object, int count, JSValueConst *arguments);\n\
                  static JSValue JS_CallInternal(JSContext *caller_ctx, JSValueConst func_obj,\n",
        times: 1,
    },
];

/// Appended to quickjs.c: what the edits above call.
pub const JSON: &str = include_str!("../guest/json.h");
pub const VALUES: &str = include_str!("../guest/values.h");
pub const HASHING: &str = include_str!("../guest/hashing.h");
pub const BASE64: &str = include_str!("../guest/base64.h");
pub const TEXTS: &str = include_str!("../guest/texts.h");
pub const STACKS: &str = include_str!("../guest/stack.h");

/// Appended to quickjs.c: what guest.c calls beyond the engine's own interface.
pub const ADDITIONS: &str = r#"
JSValue JS_GetAsyncContext(JSContext *ctx)
{
    return js_dup(js_async_context);
}

void JS_SetAsyncContext(JSContext *ctx, JSValueConst value)
{
    set_value(ctx, &js_async_context, js_dup(value));
}

/* A promise without functions that settle it: `JS_SettlePromise` does. */
JSValue JS_NewPendingPromise(JSContext *ctx)
{
    JSValue promise = JS_NewObjectClass(ctx, JS_CLASS_PROMISE);
    JSPromiseData *data;

    if (JS_IsException(promise))
        return promise;
    data = js_mallocz(ctx, sizeof(*data));
    if (!data) {
        JS_FreeValue(ctx, promise);
        return JS_EXCEPTION;
    }
    data->promise_state = JS_PROMISE_PENDING;
    init_list_head(&data->promise_reactions[0]);
    init_list_head(&data->promise_reactions[1]);
    data->promise_result = JS_UNDEFINED;
    JS_SetOpaqueInternal(promise, data);
    return promise;
}

/* Settles a promise that is not yet settled: if `value` is like a promise, as that will be. */
static JSValue js_promise_end(JSContext *ctx, JSValueConst promise, JSValueConst value, bool is_reject)
{
    if (!is_reject && JS_IsObject(value)) {
        JSValue then = js_same_value(ctx, value, promise) ? JS_ThrowTypeError(ctx, "promise self resolution")
                                                          : JS_GetProperty(ctx, value, JS_ATOM_then);
        if (JS_IsException(then)) {
            JSValue error = JS_GetException(ctx);
            fulfill_or_reject_promise(ctx, promise, error, true);
            JS_FreeValue(ctx, error);
            return JS_UNDEFINED;
        }
        if (JS_IsFunction(ctx, then)) {
            JSValueConst args[3] = {promise, value, then};
            JS_EnqueueJob(ctx, js_promise_resolve_thenable_job, 3, args);
            JS_FreeValue(ctx, then);
            return JS_UNDEFINED;
        }
        JS_FreeValue(ctx, then);
    }
    fulfill_or_reject_promise(ctx, promise, value, is_reject);
    return JS_UNDEFINED;
}

void JS_SettlePromise(JSContext *ctx, JSValueConst promise, JSValueConst value, bool is_rejected)
{
    JS_FreeValue(ctx, js_promise_end(ctx, promise, value, is_rejected));
}

static struct list_head js_sealed_objects;

/* How many names and shapes a usual call may add before a table is rebuilt. */
#define JS_SEAL_ATOMS_SPARE 4096
#define JS_SEAL_SHAPES_SPARE 1024

/* Rebuilds now what would be rebuilt soon: in a call it would write to every atom and every shape of the image. */
static void js_seal_reserve(JSRuntime *rt)
{
    JSAtomStruct **atoms;
    int i, new_size;

    while (rt->atom_count + JS_SEAL_ATOMS_SPARE >= rt->atom_count_resize && !JS_ResizeAtomHash(rt, rt->atom_hash_size * 2))
        ;
    while (2 * (rt->shape_hash_count + JS_SEAL_SHAPES_SPARE) > rt->shape_hash_size &&
           !resize_shape_hash(rt, rt->shape_hash_bits + 1))
        ;
    new_size = rt->atom_count + JS_SEAL_ATOMS_SPARE;
    if (rt->atom_size >= new_size)
        return;
    atoms = js_realloc_rt(rt, rt->atom_array, sizeof(*atoms) * new_size);
    if (!atoms)
        return;
    for (i = rt->atom_size; i < new_size; i++)
        atoms[i] = atom_set_free(i + 1 < new_size ? i + 1 : rt->atom_free_index);
    rt->atom_free_index = rt->atom_size;
    rt->atom_array = atoms;
    rt->atom_size = new_size;
}

/* Makes everything that exists immortal and unseen by the collector, and leaves the arenas with free blocks alone, so
   that new objects lie apart from it. The next collection comes after `collect_after` more bytes. */
void JS_Seal(JSRuntime *rt, size_t collect_after)
{
    struct list_head *el;
    int i;

    js_seal_reserve(rt);
    list_for_each(el, &rt->gc_obj_list) {
        JSGCObjectHeader *p = list_entry(el, JSGCObjectHeader, link);
        JS_REF_COUNT(p) |= JS_IMMORTAL;
        JS_GC_MARK(p) = 0;
    }
    for (i = 0; i < rt->atom_size; i++) {
        JSAtomStruct *p = rt->atom_array[i];
        if (!atom_is_free(p))
            JS_REF_COUNT(p) |= JS_IMMORTAL;
    }

    /* The list goes on existing, with another head: objects unlink themselves from their neighbours. */
    init_list_head(&js_sealed_objects);
    if (!list_empty(&rt->gc_obj_list)) {
        js_sealed_objects.next = rt->gc_obj_list.next;
        js_sealed_objects.prev = rt->gc_obj_list.prev;
        js_sealed_objects.next->prev = &js_sealed_objects;
        js_sealed_objects.prev->next = &js_sealed_objects;
        init_list_head(&rt->gc_obj_list);
    }

    for (i = 0; i < JS_ARENA_BLOCK_SIZE_COUNT; i++) {
        struct list_head *head = &rt->arena_state.free_arena_list[i];
        while (!list_empty(head)) {
            el = head->next;
            list_del(el);
            init_list_head(el);
        }
    }
    js_is_sealed = true;
    js_sealed_size = rt->malloc_state.malloc_size;
    js_collect_after = collect_after;
    rt->malloc_gc_threshold = js_sealed_size + collect_after;
}
"#;
