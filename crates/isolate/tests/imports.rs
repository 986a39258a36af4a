//! What happens when an image is built: linking, evaluation, limits, analysis.

mod support;

use isolate::*;
use support::*;

fn failure(entry_points: &[(&str, &str)]) -> ImportError {
    match engine().build_image(modules(entry_points)) {
        Err(error) => error,
        Ok(image) => panic!("it builds: {image:?}"),
    }
}

#[test]
fn modules_are_evaluated_once_also_in_cycles() {
    let mut source = modules(&[
        (
            "first.js",
            r#"import { query } from "./_deps/library.js";
               import { order } from "./_deps/order.js";
               import { other } from "./folder/second.js";
               order.push("first");
               export const mine = () => "mine";
               export const look = query(() => [order, other()]);"#,
        ),
        (
            "folder/second.js",
            r#"import { order } from "../_deps/order.js";
               import { mine } from "../first.js";
               import "./../_deps/slow.js";
               order.push("second");
               export const other = () => mine() + "!";"#,
        ),
    ]);
    for (path, text) in [
        ("_deps/order.js", "export const order = []; order.push('order');"),
        (
            "_deps/slow.js",
            "import { order } from './order.js'; await Promise.resolve(); order.push('slow'); export {};",
        ),
        ("_deps/unused.js", "throw new Error('nobody imports this');"),
    ] {
        source.modules.push(ModuleSource { path: path.into(), source: text.into(), is_entry_point: false });
    }
    let image = engine().build_image(source).expect("it builds");
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut invocation = query_of("look", "[]");
        invocation.module = "first.js";
        assert_eq!(value(&mut slot, &invocation), r#"[["order","slow","second","first"],"mine!"]"#);
    });
}

#[test]
fn errors_name_the_module_and_the_place() {
    let broken = failure(&[("a/broken.js", "const x = 1;\nlet y = ;")]);
    let ImportError::Syntax { module, error } = &broken else { panic!("{broken:?}") };
    assert_eq!((module.as_str(), error.name.as_str()), ("a/broken.js", "SyntaxError"));
    assert!(error.stack.contains("a/broken.js:2:"), "{error:?}");

    let throwing =
        failure(&[("throws.js", "export const f = () => { throw new RangeError('at import'); };\nf();")]);
    let ImportError::Threw { module, error } = &throwing else { panic!("{throwing:?}") };
    assert_eq!((module.as_str(), error.message.as_str()), ("throws.js", "at import"));
    assert!(error.stack.contains("throws.js:2"), "{error:?}");

    for text in [
        "import './missing.js';",
        "import x from 'bare';",
        "import '../../out.js';",
        "import 'tidemark:host';",
    ] {
        let unresolved = failure(&[("m.js", text)]);
        assert!(
            matches!(&unresolved, ImportError::Unresolved { module, .. } if module == "m.js"),
            "{unresolved:?}"
        );
    }
    let no_export = failure(&[("m.js", "import { nothing } from './_deps/library.js'; nothing();")]);
    assert!(matches!(&no_export, ImportError::Unresolved { .. }), "{no_export:?}");
    assert!(no_export.to_string().contains("nothing"), "{no_export}");

    let waiting = failure(&[("waits.js", "await new Promise(() => {});")]);
    assert!(
        matches!(&waiting, ImportError::Threw { error, .. } if error.message.contains("never settles")),
        "{waiting:?}"
    );

    let rejected = failure(&[("rejects.js", "Promise.reject(new Error('unseen'));")]);
    assert!(
        matches!(&rejected, ImportError::Threw { error, .. } if error.message == "unseen"),
        "{rejected:?}"
    );
}

#[test]
fn paths_are_checked() {
    for path in ["", "/absolute.js", "./dot.js", "tidemark:mine", "_deps/library.js", "nul\0.js"] {
        let refused = failure(&[(path, "export {};")]);
        assert!(matches!(refused, ImportError::InvalidPath { .. }), "{path}: {refused:?}");
    }
}

#[test]
fn import_has_limits() {
    let mut source = source("for (;;);");
    source.limits.user_time_ms_max = 200;
    let endless = engine().build_image(source.clone()).expect_err("it must end");
    assert!(
        matches!(&endless, ImportError::Killed { module, reason: KillReason::TimedOut { limit_ms: 200 } } if module == "functions.js"),
        "{endless:?}"
    );
    source.modules[0].source = "const list = []; for (;;) list.push({});".into();
    source.limits = ImportLimits { user_time_ms_max: 20_000, memory_bytes_max: 64 << 20 };
    let greedy = engine().build_image(source).expect_err("it must end");
    assert!(
        matches!(&greedy, ImportError::Killed { reason: KillReason::OutOfMemory { .. }, .. }),
        "{greedy:?}"
    );
}

#[test]
fn import_can_not_reach_outside() {
    for (text, code) in [
        ("Convex.syscall('1.0/db/normalizeId', '{}');", "NoDbDuringImport"),
        ("Convex.syscall('other', '{}');", "NoSyscallDuringImport"),
        ("await Convex.asyncSyscall('1.0/get', '{}');", "NoDbDuringImport"),
        ("await fetch('http://localhost');", "NoFetchDuringImport"),
        ("setTimeout(() => {});", "NoSleepDuringImport"),
        ("crypto.randomUUID();", "NoCryptoRngDuringImport"),
    ] {
        let refused = failure(&[("m.js", text)]);
        let ImportError::Threw { error, .. } = &refused else { panic!("{text}: {refused:?}") };
        assert_eq!(error.code.as_deref(), Some(code), "{text}");
    }
}

#[test]
fn clock_and_randomness_at_import_are_the_sources() {
    let text = r#"
        import { query } from "./_deps/library.js";
        const seen = [Date.now(), Math.random(), Math.random()];
        export const look = query(() => seen);"#;
    let look = |seed: u8| {
        let mut source = source(text);
        source.import_seed = [seed; 32];
        let image = engine().build_image(source).expect("it builds");
        on_thread(move || value(&mut Slot::new(&image).expect("a slot"), &query_of("look", "[]")))
    };
    let first = look(1);
    assert!(first.starts_with("[1700000000000,"), "{first}");
    assert_eq!(look(1), first);
    assert_ne!(look(2), first);
}

#[test]
fn variables_are_in_the_image_and_unset_ones_can_fail() {
    let text = r#"
        import { query } from "./_deps/library.js";
        const url = process.env.CONVEX_CLOUD_URL;
        export const look = query(() => [url, globalThis.process.env.CONVEX_CLOUD_URL, typeof process.env.MISSING]);"#;
    let image = engine().build_image(source(text)).expect("it builds");
    on_thread(move || {
        assert_eq!(
            value(&mut Slot::new(&image).expect("a slot"), &query_of("look", "[]")),
            r#"["http://127.0.0.1:3210","http://127.0.0.1:3210","undefined"]"#
        );
    });

    let mut config = modules(&[(
        "auth.config.js",
        "export default { providers: [{ domain: process.env.CONVEX_CLOUD_URL, applicationID: process.env.ISSUER }] };",
    )]);
    config.unset_variables = UnsetVariables::Fail;
    let missing = engine().build_image(config.clone()).expect_err("ISSUER is not set");
    assert!(
        matches!(&missing, ImportError::MissingEnvironmentVariable { variable, .. } if variable == "ISSUER"),
        "{missing:?}"
    );
    config.environment.insert("ISSUER".into(), "me".into());
    let image = engine().build_image(config).expect("it builds");
    assert_eq!(
        image.declaration("auth.config.js", Declaration::AuthConfig).expect("an auth config"),
        r#"{"providers":[{"domain":"http://127.0.0.1:3210","applicationID":"me"}]}"#
    );
}

#[test]
fn the_variables_that_code_reads_are_known() {
    let text = r#"
        import { query } from "./_deps/library.js";
        export const env = process.env;
        const atImport = [process.env.A, "B" in process.env];
        export const known = query(() => [process.env.A, env.B, atImport].length);
        export const read = query(() => [env.C, env.C, Object.hasOwn(env, "D"), "E" in env, env.__proto__].length);
        export const all = query(() => { const { F, ...rest } = { ...process.env }; return process.env.G; });
        export const written = query(() => { process.env.H = "own"; return [process.env.H, env.H]; });
        export const printed = query(() => { console.log({ I: "text" }, new Map([["J", "text"]])); });
        export const many = query(() => { for (let n = 0; n < 2000; n++) process.env["V" + n]; });"#;
    let mut with_a = source(text);
    with_a.environment.insert("A".into(), "1".into());
    let image = engine().build_image(with_a).expect("it builds");
    let names = ["A", "B"].map(str::to_string);
    assert_eq!(image.variables_read(), &VariablesRead::Named(names.into()));
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut read = |export| {
            let mut host = TestHost::default();
            let step = run_with(&mut slot, &query_of(export, "[]"), &mut host);
            assert!(matches!(step, Step::Done(Ok(_))), "{export}: {step:?}");
            host.variables
        };
        assert!(read("known").is_empty(), "the image has read them already");
        for _ in 0..2 {
            assert_eq!(read("read"), ["C", "D", "E", "__proto__"], "each once, in every call");
        }
        assert_eq!(read("all"), [""], "whoever lists them has read all");
        assert_eq!(read("written"), ["H"]);
        assert!(read("printed").is_empty(), "the console compares with them, which is nobody's result");
        assert_eq!(read("many").len(), 2_000);
    });

    let many = "for (let n = 0; n < 2000; n++) process.env['V' + n];";
    let list = "export const names = Object.keys(process.env);";
    let long = "process.env['x'.repeat(5000)];";
    for text in [many, list, long] {
        let image = engine().build_image(source(text)).expect("it builds");
        assert_eq!(image.variables_read(), &VariablesRead::All, "{text}");
    }
}

#[test]
fn analysis_names_functions_routes_and_crons() {
    let image = engine()
        .build_image(modules(&[
            (
                "functions.js",
                "import { action, internalQuery, mutation, query } from './_deps/library.js';\n\
                 export const list = query(() => 1);\n\
                 export const send = mutation(() => 1);\n\
                 export const hidden = internalQuery(() => 1);\n\
                 export default action(() => 1);\n\
                 export const constant = 5;",
            ),
            (
                "http.js",
                "export default { isRouter: true, getRoutes: () => [['/a', 'GET', null], ['/b/*', 'POST', null]] };",
            ),
            ("crons.js", "export default { isCrons: true, export: () => '{\"c\":1}' };"),
            ("sub/crons.js", "export default { isCrons: true, export: () => { throw new Error('not here'); } };"),
            ("routes.js", "export default { isRouter: true, getRoutes: () => { throw new Error('not here'); } };"),
        ]))
        .expect("it builds");
    let analysis = image.analyze().expect("an analysis");
    let paths: Vec<&str> = analysis.iter().map(|module| module.path.as_str()).collect();
    assert_eq!(paths, ["functions.js", "http.js", "crons.js", "sub/crons.js", "routes.js"]);
    let functions: Vec<_> = analysis[0]
        .functions
        .iter()
        .map(|function| (function.name.as_str(), function.kind, function.visibility))
        .collect();
    assert_eq!(
        functions,
        [
            ("default", FunctionKind::Action, Visibility::Public),
            ("hidden", FunctionKind::Query, Visibility::Internal),
            ("list", FunctionKind::Query, Visibility::Public),
            ("send", FunctionKind::Mutation, Visibility::Public),
        ]
    );
    let list = &analysis[0].functions[2];
    assert_eq!((list.args.as_str(), list.returns.as_str()), (r#"{"type":"any"}"#, "null"));
    assert_eq!(list.position.map(|(line, _)| line), Some(2));
    let routes = analysis[1].http_routes.as_ref().expect("routes");
    assert_eq!(routes[1], HttpRoute { path: "/b/*".into(), method: "POST".into() });
    assert_eq!(analysis[2].crons.as_deref(), Some(r#"{"c":1}"#));
    assert!(
        analysis[3].crons.is_none() && analysis[4].http_routes.is_none(),
        "elsewhere they are nothing special"
    );
}

#[test]
fn declarations_are_exported_or_refused() {
    let image = engine()
        .build_image(modules(&[
            ("schema.js", "export default { tables: {}, export: () => '{\"tables\":[]}' };"),
            (
                "convex.config.js",
                "import child from './_componentDeps/Y2hpbGQ'; export default { _isRoot: true, export: () => ({ child: child.componentDefinitionPath }) };",
            ),
            ("_componentDeps/Y2hpbGQ", "export default { componentDefinitionPath: '../child', defaultName: 'child' };"),
            ("other.js", "export default 1;"),
        ]))
        .expect("it builds");
    assert_eq!(image.declaration("schema.js", Declaration::Schema).expect("a schema"), r#"{"tables":[]}"#);
    assert_eq!(
        image.declaration("convex.config.js", Declaration::Definition).expect("a definition"),
        r#"{"child":"../child"}"#
    );
    for (module, declaration) in [
        ("other.js", Declaration::Schema),
        ("other.js", Declaration::Definition),
        ("schema.js", Declaration::AuthConfig),
        ("missing.js", Declaration::Schema),
    ] {
        let refused = image.declaration(module, declaration).expect_err("not declared");
        assert!(
            matches!(&refused, ImportError::Threw { error, .. } if error.code.as_deref() == Some("InvalidDeclaration")),
            "{refused:?}"
        );
    }
}

#[test]
fn an_image_is_small_and_a_changed_one_is_new() {
    let image = image("export const one = query(() => 1);");
    assert!(image.resident_bytes() < 8 << 20, "{} bytes", image.resident_bytes());
    assert!(image.resident_bytes() > 256 << 10, "{} bytes", image.resident_bytes());
}
