//! A second process over the same users: `sql-users <URL or file> open|invite|revoke <credential>`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;

use websockets_simple_server::SqlUsers;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [place, command, rest @ ..] = &arguments[..] else {
        return Err("which users, and what of them?".into());
    };
    let users: SqlUsers<i64> = if place.starts_with("postgres://") {
        SqlUsers::postgres(place).await?
    } else {
        SqlUsers::sqlite(place).await?
    };
    match (&**command, rest) {
        ("open", []) => {}
        ("invite", []) => println!("{}", users.first_invites(&[1, 2]).await?.len()),
        ("revoke", [credential]) => println!("{}", users.revoke(credential).await?),
        _ => return Err("open, invite or revoke".into()),
    }
    users.close().await;
    Ok(())
}
