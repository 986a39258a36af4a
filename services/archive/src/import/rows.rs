//! Rows as people write them: lines of JSON, an array of it, comma-separated values.

use std::{
    cell::Cell,
    fmt,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use serde_json::value::RawValue;
use value::{CREATION_TIME_FIELD, JsonFormat, Object, Value};

use crate::{
    ArchiveLimits,
    job::{Result, Stop},
};

/// Where a row stands, for messages.
#[derive(Clone, Copy)]
pub(crate) struct Place<'n> {
    /// Of the file.
    pub file: &'n str,
    /// What rows of it are called.
    pub unit: &'static str,
    /// From 1.
    pub number: u64,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, unit, number } = self;
        if !file.is_empty() {
            write!(formatter, "{file}, ")?;
        }
        write!(formatter, "{unit} {number}")
    }
}

impl Place<'_> {
    /// What is wrong with the row.
    pub(crate) fn refuse(&self, what: impl fmt::Display) -> Stop {
        Stop::Refused(format!("{self}: {what}"))
    }
}

/// What is done with each row. It is told where the row stands.
pub(crate) type Each<'e> = &'e mut dyn FnMut(Object, Place<'_>) -> Result<()>;

/// A document in each line that is not empty. `skip` of them are passed over.
pub(crate) fn json_lines(
    source: impl Read,
    file: &str,
    format: JsonFormat,
    skip: u64,
    limits: &ArchiveLimits,
    each: Each<'_>,
) -> Result<()> {
    let mut source = BufReader::with_capacity(64 << 10, source);
    let (mut line, mut documents) = (Vec::new(), 0);
    for number in 1.. {
        line.clear();
        let line_max = limits.line_bytes_max as u64;
        let count = source.by_ref().take(line_max + 1).read_until(b'\n', &mut line);
        let place = Place { file, unit: "line", number };
        let count = count.map_err(|error| Stop::of_io(error, |error| place.refuse(error)))?;
        if count == 0 {
            break;
        }
        if count as u64 > line_max {
            return Err(place.refuse(format!("it has more than {line_max} bytes")));
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        documents += 1;
        if documents > skip {
            let text = std::str::from_utf8(text).map_err(|_| place.refuse("it is not UTF-8"))?;
            each(document(text, format, &place)?, place)?;
        }
    }
    Ok(())
}

/// An array of documents.
pub(crate) fn json_array(
    mut source: impl Read,
    skip: u64,
    limits: &ArchiveLimits,
    each: Each<'_>,
) -> Result<()> {
    let bytes_max = limits.array_bytes_max;
    let mut bytes = Vec::new();
    let not_read = |error: io::Error| Stop::of_io(error, |error| Stop::Refused(error.to_string()));
    source.by_ref().take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(not_read)?;
    if bytes.len() > bytes_max {
        return Err(Stop::Refused(format!(
            "A JSON array has at most {bytes_max} bytes. Use lines of JSON (--format jsonLines) for more."
        )));
    }
    let not_an_array =
        |what: &dyn fmt::Display| Stop::Refused(format!("This is not an array of JSON objects: {what}"));
    let text = std::str::from_utf8(&bytes).map_err(|error| not_an_array(&error))?;
    let members: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| not_an_array(&error))?;
    for (number, member) in (1..).zip(members) {
        let place = Place { file: "", unit: "element", number };
        if number > skip {
            each(document(member.get(), JsonFormat::ConvexEncoded, &place)?, place)?;
        }
    }
    Ok(())
}

fn document(text: &str, format: JsonFormat, place: &Place<'_>) -> Result<Object> {
    let value = Value::from_json_in(text, format).map_err(|error| place.refuse(error))?;
    let mut document = value
        .into_object()
        .map_err(|other| place.refuse(format!("this is not an object, but {}", other.type_name())))?;
    // Times are floats, also where a whole number was written for one.
    if let Some(Value::Int64(ms)) = document.get(CREATION_TIME_FIELD) {
        let ms = *ms as f64;
        document.insert(CREATION_TIME_FIELD, ms);
    }
    Ok(document)
}

/// Records behind a record of names. What reads as a decimal number is one.
pub(crate) fn csv(source: impl Read, skip: u64, limits: &ArchiveLimits, each: Each<'_>) -> Result<()> {
    let left = Rc::new(Cell::new(limits.line_bytes_max));
    let source = Bounded { source, left: left.clone() };
    let mut records = csv::Reader::from_reader(source);
    let mut record = csv::StringRecord::new();
    let names = records.headers().map_err(|error| unreadable(error, limits))?.clone();
    if names.is_empty() || names.iter().any(str::is_empty) {
        return Err(Stop::Refused("The first line of a CSV file must name each column.".to_owned()));
    }
    for number in 1.. {
        left.set(limits.line_bytes_max);
        if !records.read_record(&mut record).map_err(|error| unreadable(error, limits))? {
            break;
        }
        if number <= skip {
            continue;
        }
        // The names stand in line 1.
        let line = record.position().map_or(number + 1, csv::Position::line);
        let place = Place { file: "", unit: "line", number: line };
        let mut document = Object::new();
        for (name, cell) in names.iter().zip(&record) {
            if document.insert(name, cell_value(cell)).is_some() {
                return Err(place.refuse(format!("there are two columns `{name}`")));
            }
        }
        each(document, place)?;
    }
    Ok(())
}

fn cell_value(cell: &str) -> Value {
    let is_decimal = cell.bytes().any(|byte| byte.is_ascii_digit())
        && cell.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    match cell.parse::<f64>() {
        Ok(number) if is_decimal && number.is_finite() => Value::Float64(number),
        _ => Value::from(cell),
    }
}

fn unreadable(error: csv::Error, limits: &ArchiveLimits) -> Stop {
    let text = error.to_string();
    let refuse = |what: &dyn fmt::Display| Stop::Refused(format!("This is not CSV: {what}"));
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Stop::of_io(error, |error| match error.kind() {
            io::ErrorKind::FileTooLarge => {
                Stop::Refused(format!("A record has more than {} bytes.", limits.line_bytes_max))
            }
            _ => refuse(&error),
        }),
        _ => refuse(&text),
    }
}

/// Gives no more bytes than there is room for.
struct Bounded<S> {
    source: S,
    left: Rc<Cell<usize>>,
}

impl<S: Read> Read for Bounded<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = buffer.len().min(left);
        let count = self.source.read(&mut buffer[..count])?;
        self.left.set(left - count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ArchiveLimits =
        ArchiveLimits { line_bytes_max: 64, array_bytes_max: 64, ..ArchiveLimits::DEFAULT };

    fn all(read: impl FnOnce(Each<'_>) -> Result<()>) -> Result<Vec<String>, String> {
        let mut documents = Vec::new();
        let result = read(&mut |document, place| {
            documents.push(format!("{place}: {}", document.to_json()));
            Ok(())
        });
        match result {
            Ok(()) => Ok(documents),
            Err(Stop::Refused(message)) => Err(message),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn lines(text: &str, format: JsonFormat) -> Result<Vec<String>, String> {
        all(|each| json_lines(text.as_bytes(), "t/documents.jsonl", format, 0, &LIMITS, each))
    }

    #[test]
    fn a_line_of_json_is_a_document() {
        let text = "{\"n\":1}\n\n  {\"n\":2}\r\n{\"b\":{\"$bytes\":\"AA==\"}}";
        assert_eq!(
            lines(text, JsonFormat::ConvexEncoded).expect("it is read"),
            [
                r#"t/documents.jsonl, line 1: {"n":1}"#,
                r#"t/documents.jsonl, line 3: {"n":2}"#,
                r#"t/documents.jsonl, line 4: {"b":{"$bytes":"AA=="}}"#,
            ]
        );
        let uniform = lines(r#"{"i":1,"f":1.0,"_creationTime":1700000000000}"#, JsonFormat::Export);
        let uniform = uniform.expect("it is read");
        assert_eq!(
            uniform,
            [
                r#"t/documents.jsonl, line 1: {"_creationTime":1700000000000,"f":1,"i":{"$integer":"AQAAAAAAAAA="}}"#
            ]
        );
    }

    #[test]
    fn a_line_that_is_no_document_is_named() {
        for (text, place) in [
            ("{\"a\":1}\n[1]", "line 2"),
            ("{\"a\":1}\n{\"a\":", "line 2"),
            ("\u{feff}{}", "line 1"),
            ("{\"$a\":1}", "line 1"),
            (&format!("{{\"a\":\"{}\"}}", "x".repeat(64)), "line 1: it has more than 64 bytes"),
        ] {
            let error = lines(text, JsonFormat::ConvexEncoded).expect_err(text);
            assert!(error.contains(place), "{text}: {error}");
        }
        let broken = [b'{', 0xff, b'}'];
        let read = all(|each| json_lines(&broken[..], "f", JsonFormat::Clean, 0, &LIMITS, each));
        assert!(read.expect_err("not UTF-8").contains("not UTF-8"));
    }

    #[test]
    fn what_was_read_before_is_passed_over() {
        let text = "{\"n\":1}\n\n{\"n\":2}\n{\"n\":3}\n";
        let rest = all(|each| json_lines(text.as_bytes(), "", JsonFormat::Clean, 2, &LIMITS, each));
        assert_eq!(rest.expect("it is read"), [r#"line 4: {"n":3}"#]);
        let rest = all(|each| csv("n\n1\n2\n3\n".as_bytes(), 2, &LIMITS, each));
        assert_eq!(rest.expect("it is read"), [r#"line 4: {"n":3}"#]);
        let rest = all(|each| json_array(r#"[{"n":1},{"n":2}]"#.as_bytes(), 1, &LIMITS, each));
        assert_eq!(rest.expect("it is read"), [r#"element 2: {"n":2}"#]);
    }

    #[test]
    fn an_array_of_json_is_documents() {
        let read = |text: &str| all(|each| json_array(text.as_bytes(), 0, &LIMITS, each));
        assert_eq!(
            read(" [ {\"a\":1} , {} ] ").expect("it is read"),
            [r#"element 1: {"a":1}"#, "element 2: {}"]
        );
        assert_eq!(read("[]").expect("it is read"), Vec::<String>::new());
        for bad in ["", "{}", "[1]", "[{}", "[{}]x", &format!("[{}]", " ".repeat(64))] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cell_is_a_number_or_a_text() {
        let read = |text: &str| all(|each| csv(text.as_bytes(), 0, &LIMITS, each));
        let text = "a,b,c\n1,x,\n-2.5e3,\"1,\"\"5\",007\nNaN,inf,-\n";
        assert_eq!(
            read(text).expect("it is read"),
            [
                r#"line 2: {"a":1,"b":"x","c":""}"#,
                r#"line 3: {"a":-2500,"b":"1,\"5","c":7}"#,
                r#"line 4: {"a":"NaN","b":"inf","c":"-"}"#,
            ]
        );
        for bad in ["", "a,b\n1\n", "a,a\n1,2\n", "a,\n1,2\n", &format!("a\n\"{}", "x\n".repeat(64))] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
