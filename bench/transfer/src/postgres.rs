//! The peer's tables: accounts, and the transfer as a stored function.

use std::path::Path;

use anyhow::Result;
use harness::peers::Postgres;

/// A transfer as the peer takes it.
pub fn body(from: usize, to: usize) -> String {
    format!(r#"{{"from":{from},"to":{to},"amount":1}}"#)
}

/// A PostgreSQL with so many accounts.
pub async fn start(folder: &Path, accounts: usize, balance: u64) -> Result<Postgres> {
    let postgres = Postgres::start(folder).await?;
    postgres
        .psql(&format!(
            "create table accounts (number int primary key, balance bigint not null); \
             insert into accounts select n, {balance} from generate_series(0, {}) n; \
             create function transfer(payer int, payee int, amount bigint) returns void language plpgsql as $$ \
             declare found_payer bigint; found_payee bigint; begin \
             select balance into strict found_payer from accounts where number = payer; \
             select balance into strict found_payee from accounts where number = payee; \
             if found_payer < amount then raise exception 'account % has only %', payer, found_payer; end if; \
             update accounts set balance = found_payer - amount where number = payer; \
             update accounts set balance = found_payee + amount where number = payee; end $$; \
             alter role postgres set default_transaction_isolation = 'serializable';",
            accounts - 1
        ))
        .await?;
    postgres.psql("vacuum analyze accounts").await?;
    postgres.psql("checkpoint").await?;
    Ok(postgres)
}

/// The sum of all balances.
pub async fn total(postgres: &Postgres) -> Result<u64> {
    Ok(postgres.psql("select sum(balance) from accounts").await?.trim().parse()?)
}
