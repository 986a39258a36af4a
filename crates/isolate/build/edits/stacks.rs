//! Stack traces as V8 has them: the functions of the app, also those that wait, each at the place that people wrote.

use super::Edit;

pub const EDITS: &[Edit] = &[
    // ---- `error.stack` ----
    //
    // It is an own property, whose text is made when it is read: the frames in terms of the bundle are kept with the
    // error, and the host translates them (guest/stack.h). Errors whose stack nobody reads cost no more than before.
    Edit {
        file: "quickjs.c",
        find: "static bool can_add_backtrace(JSValueConst obj)\n{\n",
        replace: "/* While a job runs: the function that settles the promise which the job is for. */\n\
                  static JSValue js_job_settles = JS_UNDEFINED;\n\
                  /* While an async function runs on after a rejection: the reason, and the function's frame. */\n\
                  static JSValue js_rejected_with = JS_UNDEFINED;\n\
                  static JSStackFrame *js_rejected_frame;\n\
                  static bool js_has_lazy_stack(JSObject *p);\n\
                  static void js_install_stack(JSContext *ctx, JSValueConst obj, JSValue frames, bool is_final);\n\
                  static bool js_write_frame(JSContext *ctx, DynBuf *out, JSValueConst func, const uint8_t *pc, \
                  bool is_new, bool is_async);\n\
                  static void js_write_waiting(JSContext *ctx, DynBuf *out, JSStackFrame *bottom, int count, int limit);\n\
                  static bool can_add_backtrace(JSValueConst obj)\n{\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    if (!JS_IsUndefined(p->u.object_data))\n        return false;\n    if (find_own_property1(p, \
               JS_ATOM_stack))\n        return false;\n    return true;\n",
        replace: "    return JS_IsUndefined(p->u.object_data) && js_has_lazy_stack(p);\n",
        times: 1,
    },
    // `stack` comes before `message`, as V8 has it.
    Edit {
        file: "quickjs.c",
        find: "    JSValue obj = JS_NewObjectClass(ctx, JS_CLASS_ERROR);\n    if (JS_IsException(obj))\n        \
               return JS_EXCEPTION;\n",
        replace: "    JSValue obj = JS_NewObjectClass(ctx, JS_CLASS_ERROR);\n    if (JS_IsException(obj))\n        \
                  return JS_EXCEPTION;\n    js_install_stack(ctx, obj, JS_UNDEFINED, false);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    if (JS_IsException(obj))\n        return JS_EXCEPTION;\n    msg = JS_NewString(ctx, message);\n",
        replace: "    if (JS_IsException(obj))\n        return JS_EXCEPTION;\n    js_install_stack(ctx, obj, \
                  JS_UNDEFINED, false);\n    msg = JS_NewString(ctx, message);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    obj = JS_NewObjectProtoClass(ctx, proto, JS_CLASS_ERROR);\n    JS_FreeValue(ctx, proto);\n    if \
               (JS_IsException(obj))\n        return obj;\n",
        replace: "    obj = JS_NewObjectProtoClass(ctx, proto, JS_CLASS_ERROR);\n    JS_FreeValue(ctx, proto);\n    \
                  if (JS_IsException(obj))\n        return obj;\n    js_install_stack(ctx, obj, JS_UNDEFINED, false);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "        return obj;\n    JS_DefinePropertyValueConst(ctx, obj, JS_ATOM_errors, errors,\n",
        replace: "        return obj;\n    js_install_stack(ctx, obj, JS_UNDEFINED, false);\n    \
                  JS_DefinePropertyValueConst(ctx, obj, JS_ATOM_errors, errors,\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    if (JS_IsException(obj))\n        return JS_EXCEPTION;\n    JS_DefinePropertyValue(ctx, obj, \
               JS_ATOM_error, js_dup(error),\n",
        replace: "    if (JS_IsException(obj))\n        return JS_EXCEPTION;\n    js_install_stack(ctx, obj, \
                  JS_UNDEFINED, false);\n    JS_DefinePropertyValue(ctx, obj, JS_ATOM_error, js_dup(error),\n",
        times: 1,
    },
    // V8 has no accessor on the prototype.
    Edit {
        file: "quickjs.c",
        find: "    JS_CGETSET_DEF(\"stack\", js_error_get_stack, js_error_set_stack ),\n",
        replace: "",
        times: 1,
    },
    // The text is made by code that may run JavaScript, which may change the error meanwhile.
    Edit {
        file: "quickjs.c",
        find: "    if (js_shape_prepare_update(ctx, p, &prs))\n        return -1;\n\n    realm = \
               js_autoinit_get_realm(pr);\n",
        replace: "    if (pr->u.init.opaque == js_stack_marker)\n        return js_init_stack(ctx, p, prop);\n    if \
                  (js_shape_prepare_update(ctx, p, &prs))\n        return -1;\n\n    realm = js_autoinit_get_realm(pr);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "static int JS_AutoInitProperty(JSContext *ctx, JSObject *p, JSAtom prop,\n",
        replace: "static char js_stack_marker[1];\n\
                  static int js_init_stack(JSContext *ctx, JSObject *p, JSAtom prop);\n\
                  static int JS_AutoInitProperty(JSContext *ctx, JSObject *p, JSAtom prop,\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    if (JS_IsUndefined(ctx->error_back_trace))\n        ctx->error_back_trace = js_dup(stack);\n    if \
               (has_filter_func) {\n",
        replace: "    js_install_stack(ctx, error_obj, stack, has_prepare);\n    if (0) {\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    } else {\n        JS_FreeValue(ctx, stack);\n    }\n\n    JS_FreeValue(ctx, error_obj);\n    \
               rt->in_build_stack_trace = false;\n",
        replace: "    }\n\n    JS_FreeValue(ctx, error_obj);\n    rt->in_build_stack_trace = false;\n",
        times: 1,
    },
    // A stack that nobody can ask for is not made: the engine made a second one for each error that is thrown.
    Edit {
        file: "quickjs.c",
        find: "    if (needs_backtrace(rt->current_exception)\n    || JS_IsUndefined(ctx->error_back_trace)) {\n",
        replace: "    if (needs_backtrace(rt->current_exception)) {\n",
        times: 1,
    },
    // ---- Frames ----
    //
    // What lies above the constructor that `new` named is how the error came to be; functions of the engine and of the
    // platform are not the app's.
    Edit {
        file: "quickjs.c",
        find: "    build_backtrace(ctx, obj, JS_UNDEFINED, NULL, 0, 0, JS_BACKTRACE_FLAG_SKIP_FIRST_LEVEL);\n    \
               return obj;\n",
        replace: "    build_backtrace(ctx, obj, new_target, NULL, 0, 0,\n                    \
                  JS_BACKTRACE_FLAG_SKIP_FIRST_LEVEL | JS_BACKTRACE_FLAG_FILTER_FUNC);\n    return obj;\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    build_backtrace(ctx, obj, JS_UNDEFINED, NULL, 0, 0, backtrace_flags);\n",
        replace: "    build_backtrace(ctx, obj, new_target, NULL, 0, 0,\n                    \
                  backtrace_flags | JS_BACKTRACE_FLAG_FILTER_FUNC);\n",
        times: 1,
    },
    // A syntax error names its module, but not a text without a name: the argument of `JSON.parse`.
    Edit {
        file: "quickjs.c",
        find: "        if (filename) {\n            i++;\n            dbuf_printf(&dbuf, \"    at %s\", filename);\n",
        replace: "        if (filename && filename[0] != '<') {\n            i++;\n            dbuf_printf(&dbuf, \"    \
                  at %s\", filename);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "            if (line_num != -1)\n                dbuf_printf(&dbuf, \":%d:%d\", line_num, col_num);\n            \
               dbuf_putc(&dbuf, '\\n');\n        }\n    }\n",
        replace: "            if (line_num != -1)\n                dbuf_printf(&dbuf, \":%d:%d\", line_num, col_num);\n        \
                  }\n    }\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            /* func_name_str is UTF-8 encoded if needed */
            func_name_str = get_func_name(ctx, sf->cur_func);
            if (!func_name_str || func_name_str[0] == '\0')
                str1 = "<anonymous>";
            else
                str1 = func_name_str;
            dbuf_printf(&dbuf, "    at %s", str1);
            JS_FreeCString(ctx, func_name_str);

            if (b && sf->cur_pc) {
                const char *atom_str;
                int line_num1, col_num1;
                uint32_t pc;

                pc = sf->cur_pc - b->byte_code_buf - 1;
                line_num1 = find_line_num(ctx, b, pc, &col_num1);
                atom_str = b->filename ? JS_AtomToCString(ctx, b->filename) : NULL;
                dbuf_printf(&dbuf, " (%s", atom_str ? atom_str : "<null>");
                JS_FreeCString(ctx, atom_str);
                if (line_num1 != -1)
                    dbuf_printf(&dbuf, ":%d:%d", line_num1, col_num1);
                dbuf_putc(&dbuf, ')');
            } else if (b) {
                // FIXME(bnoordhuis) Missing `sf->cur_pc = pc` in bytecode
                // handler in JS_CallInternal. Almost never user observable
                // except with intercepting JS proxies that throw exceptions.
                dbuf_printf(&dbuf, " (missing)");
            } else {
                dbuf_printf(&dbuf, " (native)");
            }
            dbuf_putc(&dbuf, '\n');
        }
        i++;
"#,
        replace: r#"            if (!js_write_frame(ctx, &dbuf, sf->cur_func, sf->cur_pc, sf->is_constructor, false))
                goto next_frame;
        }
        i++;
    next_frame:
        if (!has_prepare && !sf->prev_frame)
            js_write_waiting(ctx, &dbuf, sf, i, stack_trace_limit);
"#,
        times: 1,
    },
    // The first line is made when the stack is read, as in Node.js: by then a constructor has set the name.
    //
    // ---- Who waits ----
    //
    // Below the function that a job resumed stand those that wait for it.
    Edit {
        file: "quickjs.c",
        find: "    result = run_promise_reaction(ctx, 5, argv);\n",
        replace: "    js_job_settles = argv[0];\n    result = run_promise_reaction(ctx, 5, argv);\n    \
                  js_job_settles = JS_UNDEFINED;\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    s->func_state.throw_flag = is_reject;\n    if (is_reject) {\n        JS_Throw(ctx, js_dup(arg));\n    \
               } else {\n        /* return value of await */\n        s->func_state.frame.cur_sp[-1] = js_dup(arg);\n    \
               }\n    if (!js_async_function_resume(ctx, s))\n        return JS_EXCEPTION;\n",
        replace: "    s->func_state.throw_flag = is_reject;\n    if (is_reject) {\n        JS_Throw(ctx, js_dup(arg));\n        \
                  js_rejected_with = js_dup(arg);\n        js_rejected_frame = &s->func_state.frame;\n    \
                  } else {\n        /* return value of await */\n        s->func_state.frame.cur_sp[-1] = js_dup(arg);\n    \
                  }\n    is_success = js_async_function_resume(ctx, s);\n    if (is_reject) {\n        \
                  JS_FreeValue(ctx, js_rejected_with);\n        js_rejected_with = JS_UNDEFINED;\n        \
                  js_rejected_frame = NULL;\n    }\n    if (!is_success)\n        return JS_EXCEPTION;\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "    bool is_reject = flags;\n",
        replace: "    bool is_reject = flags, is_success;\n",
        times: 1,
    },
    // ---- Places ----
    //
    // A call's place is that of the name which is called, a property's that of its name, and an `await` has its own:
    // people look for these, and source maps have them. The engine had the place of whatever was read last, which may
    // be lines below.
    Edit {
        file: "quickjs.c",
        find: "    int optional_chaining_label;\n    bool accept_lparen = (parse_flags & PF_POSTFIX_CALL) != 0;\n",
        replace: "    int optional_chaining_label;\n    int callee_line = s->token.line_num, callee_col = \
                  s->token.col_num;\n    bool accept_lparen = (parse_flags & PF_POSTFIX_CALL) != 0;\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "            emit_source_loc(s);\n            if (js_parse_postfix_expr(s, 0))\n                return \
               -1;\n            accept_lparen = true;\n            if (s->token.val != '(') {\n                /* new \
               operator on an object */\n                emit_op(s, OP_dup);\n",
        replace: "            if (js_parse_postfix_expr(s, 0))\n                return -1;\n            accept_lparen = \
                  true;\n            if (s->token.val != '(') {\n                /* new operator on an object */\n                \
                  emit_op(s, OP_dup);\n                emit_source_loc_at(s, callee_line, callee_col);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "                /* apply function call */\n                switch(opcode) {\n",
        replace: "                /* apply function call */\n                emit_source_loc_at(s, callee_line, \
                  callee_col);\n                switch(opcode) {\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "            emit_func_call:\n                switch(opcode) {\n",
        replace: "            emit_func_call:\n                emit_source_loc_at(s, callee_line, callee_col);\n                \
                  switch(opcode) {\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "        parse_property:\n            if (s->token.val == TOK_PRIVATE_NAME) {\n",
        replace: "        parse_property:\n            callee_line = s->token.line_num;\n            callee_col = \
                  s->token.col_num;\n            if (s->token.val == TOK_PRIVATE_NAME) {\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "                        optional_chain_test(s, &optional_chaining_label, 1);\n                    }\n                    \
               emit_op(s, OP_get_field);\n",
        replace: "                        optional_chain_test(s, &optional_chaining_label, 1);\n                    }\n                    \
                  emit_source_loc_at(s, callee_line, callee_col);\n                    emit_op(s, OP_get_field);\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "            return js_parse_error(s, \"await in default expression\");\n        if (next_token(s))\n            \
               return -1;\n        if (js_parse_unary(s, PF_POW_FORBIDDEN))\n            return -1;\n",
        replace: "            return js_parse_error(s, \"await in default expression\");\n        int await_line = \
                  s->token.line_num, await_col = s->token.col_num;\n        if (next_token(s))\n            return -1;\n        \
                  if (js_parse_unary(s, PF_POW_FORBIDDEN))\n            return -1;\n        emit_source_loc_at(s, \
                  await_line, await_col);\n",
        times: 1,
    },
];
