//! Listening, and saying who is in the way.

use std::{fs, io, net::SocketAddr};

use tokio::net::TcpListener;

use crate::{process, refusal::Refusal};

/// Listens on an address; `flag` is what to change if that fails.
pub async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, Refusal> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            Refusal::PortInUse { address, process: listener_of(address.port()).map(process::describe), flag }
        }
        _ => Refusal::UnusableAddress { address, reason: error.to_string() },
    })
}

/// The process that listens on a port, where the system lets us see it: its socket's number is in the table of sockets, and
/// among the open files of one process.
fn listener_of(port: u16) -> Option<u32> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let socket =
        tables.iter().flat_map(|table| table.lines()).find_map(|line| listening_socket(line, port))?;
    let link = format!("socket:[{socket}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|process| {
        let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        files
            .into_iter()
            .any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == link.as_str()))
    })
}

/// The socket's number, if a line of the system's table is of one that listens on `port`.
fn listening_socket(line: &str, port: u16) -> Option<u64> {
    const LISTENING: &str = "0A";
    let mut columns = line.split_whitespace();
    let local = columns.nth(1)?;
    let state = columns.nth(1)?;
    let (_, local_port) = local.rsplit_once(':')?;
    if state != LISTENING || u16::from_str_radix(local_port, 16) != Ok(port) {
        return None;
    }
    columns.nth(5)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_socket_table_is_read() {
        let line = "   0: 0100007F:0C8A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 52834 1 000 100 0 0 10 0";
        assert_eq!(listening_socket(line, 3210), Some(52_834));
        assert_eq!(listening_socket(line, 3211), None);
        assert_eq!(listening_socket(&line.replace(" 0A ", " 01 "), 3210), None);
        assert_eq!(listening_socket("  sl  local_address rem_address   st", 3210), None);
    }

    #[tokio::test]
    async fn a_port_in_use_is_refused_with_the_process_that_has_it() {
        let first = listen("127.0.0.1:0".parse().expect("valid"), "--port").await.expect("listens");
        let address = first.local_addr().expect("has one");
        match listen(address, "--port").await {
            Err(Refusal::PortInUse { process: Some(process), .. }) => {
                assert!(process.contains(&std::process::id().to_string()), "{process}");
            }
            other => panic!("{other:?}"),
        }
    }
}
