//! Checks the linked module, separates its code from its initial data, and makes the code stoppable.

use wasmparser::{DataKind, FunctionBody, MemArg, Operator, Parser, Payload};

use crate::configuration::POLL_ADDRESS;

/// A module without data segments, whose loops can be stopped, and what the segments held.
pub struct Separated {
    pub code: Vec<u8>,
    /// Address and bytes of each segment, in order.
    pub data: Vec<(u32, Vec<u8>)>,
}

/// Takes the data segments out of a module. The memory of an instance comes from an image, over which instantiating
/// must not write; only the first memory of all is filled from the segments.
///
/// Resetting a slot restores its memory and its stack pointer, so this also refuses a module that keeps state
/// anywhere else: in another mutable global, in a table, or in which segments were dropped.
pub fn separate(module: &[u8]) -> Result<Separated, String> {
    let context = |error: wasmparser::BinaryReaderError| format!("the linked module: {error}");
    let mut code = module[..8].to_vec();
    let mut data = Vec::new();
    let mut mutable_globals = 0;
    let mut imported_functions = 0;
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(context)?;
        match &payload {
            Payload::GlobalSection(globals) => {
                for global in globals.clone() {
                    mutable_globals += usize::from(global.map_err(context)?.ty.mutable);
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import.map_err(context)?;
                    if !matches!(import.ty, wasmparser::TypeRef::Func(_)) {
                        return Err(format!(
                            "the linked module imports {}, which is no function",
                            import.name
                        ));
                    }
                    imported_functions += 1;
                }
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader().map_err(context)? {
                    check_operator(&operator.map_err(context)?)?;
                }
                let index = imported_functions + bodies.len() as u32;
                bodies.push(with_polls(module, body, index).map_err(context)?);
            }
            Payload::DataSection(segments) => {
                for segment in segments.clone() {
                    let segment = segment.map_err(context)?;
                    data.push((address_of(&segment.kind)?, segment.data.to_vec()));
                }
            }
            _ => {}
        }
        if let Some((id, range)) = payload.as_section()
            && keeps_section(id)
        {
            code.push(id);
            write_leb128(&mut code, range.len());
            code.extend_from_slice(&module[range]);
        }
    }
    if mutable_globals != 1 {
        return Err(format!(
            "the linked module has {mutable_globals} mutable globals, not just the stack pointer"
        ));
    }
    // The last section of those that are kept, by the format's order.
    write_code_section(&mut code, &bodies);
    check_polls(&code)?;
    Ok(Separated { code, data })
}

const CODE: u8 = 10;

/// All but data, the count of data segments, and custom sections (names, which the traps don't show); the code is
/// written anew.
fn keeps_section(id: u8) -> bool {
    const CUSTOM: u8 = 0;
    const DATA: u8 = 11;
    const DATA_COUNT: u8 = 12;
    !matches!(id, CUSTOM | CODE | DATA | DATA_COUNT)
}

fn write_code_section(out: &mut Vec<u8>, bodies: &[Vec<u8>]) {
    let mut section = Vec::new();
    write_leb128(&mut section, bodies.len());
    for body in bodies {
        write_leb128(&mut section, body.len());
        section.extend_from_slice(body);
    }
    out.push(CODE);
    write_leb128(out, section.len());
    out.extend_from_slice(&section);
}

/// Copies a function with a poll behind every loop header, and at its begin if it calls itself.
///
/// What runs for long passes one or the other again and again: a loop, or recursion. The depth of recursion is
/// bounded by the stack, but not how often it branches; where it leads over several functions, it leads through the
/// interpreter, which calls itself. Other functions need none at their begin, which would be half of the cost.
///
/// A poll is a write. The compiler could take a read in an inner loop for that of the outer one, and leave it out; of
/// two writes it leaves one out only where the other runs on the same path, too.
fn with_polls(
    module: &[u8],
    body: &FunctionBody<'_>,
    index: u32,
) -> Result<Vec<u8>, wasmparser::BinaryReaderError> {
    let mut polled = Vec::new();
    let mut copied_to = body.range().start;
    let mut poll_at = |position: usize| {
        polled.extend_from_slice(&module[copied_to..position]);
        polled.extend_from_slice(&poll());
        copied_to = position;
    };
    let mut operators = body.get_operators_reader()?;
    let begin = operators.original_position();
    if calls_itself(body, index)? {
        poll_at(begin);
    }
    while !operators.eof() {
        if let Operator::Loop { .. } = operators.read()? {
            poll_at(operators.original_position());
        }
    }
    polled.extend_from_slice(&module[copied_to..body.range().end]);
    Ok(polled)
}

fn calls_itself(body: &FunctionBody<'_>, index: u32) -> Result<bool, wasmparser::BinaryReaderError> {
    for operator in body.get_operators_reader()? {
        if let Operator::Call { function_index } = operator?
            && function_index == index
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `(i32.store (i32.const POLL_ADDRESS) (i32.const 0))`
fn poll() -> Vec<u8> {
    const I32_CONST: u8 = 0x41;
    const I32_STORE: u8 = 0x36;
    const ALIGNED_TO_4: u8 = 2;
    let mut code = vec![I32_CONST];
    write_signed_leb128(&mut code, POLL_ADDRESS as i32);
    code.extend_from_slice(&[I32_CONST, 0, I32_STORE, ALIGNED_TO_4, 0]);
    code
}

/// Refuses a module with a loop that could not be stopped.
fn check_polls(module: &[u8]) -> Result<(), String> {
    let context = |error: wasmparser::BinaryReaderError| format!("the module with polls: {error}");
    let mut loops = 0;
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CodeSectionEntry(body) = payload.map_err(context)? else { continue };
        let mut operators = body.get_operators_reader().map_err(context)?;
        while !operators.eof() {
            if !matches!(operators.read().map_err(context)?, Operator::Loop { .. }) {
                continue;
            }
            loops += 1;
            let mut next = || operators.read().map_err(context);
            let is_polled = matches!(next()?, Operator::I32Const { value } if value == POLL_ADDRESS as i32)
                && matches!(next()?, Operator::I32Const { value: 0 })
                && matches!(next()?, Operator::I32Store { memarg: MemArg { offset: 0, memory: 0, .. } });
            if !is_polled {
                return Err(format!("loop {loops} of the module has no poll: nothing could stop it"));
            }
        }
    }
    if loops == 0 {
        return Err("the module has no loops, so it is not the engine".into());
    }
    Ok(())
}

fn check_operator(operator: &Operator<'_>) -> Result<(), String> {
    match operator {
        Operator::TableSet { .. }
        | Operator::TableInit { .. }
        | Operator::TableCopy { .. }
        | Operator::TableGrow { .. }
        | Operator::TableFill { .. }
        | Operator::ElemDrop { .. }
        | Operator::DataDrop { .. }
        | Operator::MemoryInit { .. } => {
            Err(format!("the linked module contains {operator:?}: state that a reset would miss"))
        }
        _ => Ok(()),
    }
}

fn address_of(kind: &DataKind<'_>) -> Result<u32, String> {
    if let DataKind::Active { memory_index: 0, offset_expr } = kind
        && let Ok(Operator::I32Const { value }) = offset_expr.get_operators_reader().read()
    {
        return Ok(value as u32);
    }
    Err("the linked module has a data segment without a fixed address".into())
}

fn write_leb128(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_signed_leb128(out: &mut Vec<u8>, mut value: i32) {
    loop {
        let byte = value as u8 & 0x7f;
        value >>= 7;
        // The rest is only the sign, which the last byte shows, too.
        if value == 0 && byte & 0x40 == 0 || value == -1 && byte & 0x40 != 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}
