//! What the tests share: an engine, sources of modules that follow the ABI of registered functions, and a host.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use isolate::*;

/// One engine for all tests of a file.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().expect("the engine loads"))
}

/// Wraps handlers the way the published library does: `invokeQuery` and its siblings take and return JSON text.
pub const LIBRARY: &str = r#"
const convexError = Symbol.for("ConvexError");
export class ConvexError extends Error {
  constructor(data) {
    super(typeof data === "string" ? data : JSON.stringify(data));
    this.name = "ConvexError";
    this.data = data;
    this[convexError] = true;
  }
}
export async function operation(name, args) {
  try {
    return JSON.parse(await Convex.asyncSyscall(name, JSON.stringify(args)));
  } catch (error) {
    if (error.data !== undefined) {
      const thrown = new ConvexError(error.message);
      thrown.data = error.data;
      throw thrown;
    }
    throw new Error(error.message);
  }
}
export const syscall = (name, args) => JSON.parse(Convex.syscall(name, JSON.stringify(args)));
function register(flag, invoker, visibility, handler) {
  const registered = () => { throw new Error("call it by its invoker"); };
  registered[flag] = true;
  registered[visibility] = true;
  registered._handler = handler;
  registered.exportArgs = () => '{"type":"any"}';
  registered.exportReturns = () => "null";
  registered[invoker] = async (...texts) => {
    try {
      const result = await handler({}, ...JSON.parse(texts.at(-1)));
      return JSON.stringify(result === undefined ? null : result);
    } catch (error) {
      if (typeof error === "object" && error !== null && convexError in error) {
        error.data = JSON.stringify(error.data === undefined ? null : error.data);
        error.ConvexErrorSymbol = convexError;
      }
      throw error;
    }
  };
  return registered;
}
export const query = (handler) => register("isQuery", "invokeQuery", "isPublic", handler);
export const internalQuery = (handler) => register("isQuery", "invokeQuery", "isInternal", handler);
export const mutation = (handler) => register("isMutation", "invokeMutation", "isPublic", handler);
export const action = (handler) => register("isAction", "invokeAction", "isPublic", handler);
"#;

/// A source with the library and one entry point `functions.js`.
pub fn source(functions: &str) -> ImageSource {
    modules(&[("functions.js", functions)])
}

/// A source with the library and these entry points.
pub fn modules(entry_points: &[(&str, &str)]) -> ImageSource {
    let mut modules: Vec<ModuleSource> = entry_points
        .iter()
        .map(|(path, source)| ModuleSource {
            path: path.to_string(),
            source: source.to_string(),
            is_entry_point: true,
        })
        .collect();
    modules.push(ModuleSource {
        path: "_deps/library.js".into(),
        source: LIBRARY.into(),
        is_entry_point: false,
    });
    ImageSource {
        modules,
        environment: BTreeMap::from([("CONVEX_CLOUD_URL".into(), "http://127.0.0.1:3210".into())]),
        unset_variables: UnsetVariables::Undefined,
        import_seed: [7; 32],
        import_time_ms: 1_700_000_000_000,
        native_values: true,
        limits: ImportLimits::default(),
    }
}

/// An image with functions that are written with the library's names in scope.
pub fn image(functions: &str) -> Arc<Image> {
    let text = format!(
        "import {{ ConvexError, action, internalQuery, mutation, operation, query, syscall }} from \
         \"./_deps/library.js\";\n{functions}"
    );
    engine().build_image(source(&text)).expect("the image builds")
}

/// Runs `test` on a thread for slots.
pub fn on_thread<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    match thread_builder("test").spawn(test).expect("a thread").join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A host that remembers the console and the variables that were read, and answers syscalls by a function.
#[derive(Default)]
pub struct TestHost {
    pub lines: Vec<ConsoleLine>,
    pub variables: Vec<String>,
}

impl SyncHost for TestHost {
    fn syscall(&mut self, operation: &str, arguments: &str) -> Result<String, SyscallError> {
        match operation {
            "echo" => Ok(arguments.to_string()),
            // No timer is on its way: each is over at once.
            "tidemark/wake" => Ok("null".to_string()),
            _ => Err(SyscallError::new(format!("Unknown operation: {operation}"))),
        }
    }

    fn log(&mut self, line: ConsoleLine) {
        self.lines.push(line);
    }

    fn variable_is_read(&mut self, name: &str) {
        self.variables.push(name.to_string());
    }
}

/// A call of a query in `functions.js` with one argument.
pub fn query_of<'a>(export: &'a str, arguments: &'a str) -> Invocation<'a> {
    Invocation {
        module: "functions.js",
        export,
        kind: FunctionKind::Query,
        arguments,
        seed: [1; 32],
        now_ms: 1_800_000_000_123,
        request_id: "",
        limits: CallLimits::default(),
    }
}

/// Calls a function to its end; operations are echoed, but for `fail` and `fail with data`.
pub fn run(slot: &mut Slot, invocation: &Invocation<'_>) -> Step {
    run_with(slot, invocation, &mut TestHost::default())
}

pub fn run_with(slot: &mut Slot, invocation: &Invocation<'_>, host: &mut TestHost) -> Step {
    let mut step = slot.start(invocation, host).expect("the call starts");
    while let Step::NeedsHost { operations } = step {
        let answers = operations
            .into_iter()
            .map(|operation| {
                let answer = match operation.name.as_str() {
                    "fail" => Err(SyscallError::new("it failed")),
                    "fail with data" => {
                        Err(SyscallError { message: "it failed".into(), data: Some(operation.arguments) })
                    }
                    _ => Ok(operation.arguments.into()),
                };
                (operation.id, answer)
            })
            .collect();
        step = slot.resume(answers, host).expect("the call goes on");
    }
    step
}

/// The JSON text that a call returns, which must succeed.
pub fn value(slot: &mut Slot, invocation: &Invocation<'_>) -> String {
    match run(slot, invocation) {
        Step::Done(Ok(text)) => text,
        other => panic!("{}: {other:?}", invocation.export),
    }
}

/// The error that a call throws.
pub fn error(slot: &mut Slot, invocation: &Invocation<'_>) -> JsError {
    match run(slot, invocation) {
        Step::Done(Err(error)) => *error,
        other => panic!("{}: {other:?}", invocation.export),
    }
}

/// Why a call was ended.
pub fn kill_reason(slot: &mut Slot, invocation: &Invocation<'_>) -> KillReason {
    match run(slot, invocation) {
        Step::Killed(reason) => reason,
        other => panic!("{}: {other:?}", invocation.export),
    }
}

/// Evaluates expressions in one query each, every one in a fresh slot, and compares their JSON.
pub fn check_expressions(cases: &'static [(&'static str, &'static str)]) {
    let functions: String = cases
        .iter()
        .enumerate()
        .map(|(index, (expression, _))| {
            format!("export const f{index} = query(async () => ({expression}));\n")
        })
        .collect();
    let image = image(&functions);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        for (index, (expression, expected)) in cases.iter().enumerate() {
            let export = format!("f{index}");
            match run(&mut slot, &query_of(&export, "[]")) {
                Step::Done(Ok(text)) => assert_eq!(&text, expected, "{expression}"),
                other => panic!("{expression}: {other:?}"),
            }
            slot.reset().expect("it resets");
        }
    });
}
