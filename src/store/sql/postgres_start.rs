//! Faults of a PostgreSQL server, or of the file that names it, that are found before a node uses it. Each is described by
//! a line of its own. No line contains a URL, because it holds a password.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions, PgConnection, Row as _, raw_sql};
use url::Url;

use super::StoreError;
use super::error::describe;
use super::timeouts::{MAX_PROBE_TIME, timeout_error};

/// The parameters of a URL that the driver knows. It ignores others, and a misspelt `sslmode` would switch TLS off.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "statement-cache-capacity",
    "options",
];
/// Parameters that name a file.
const FILE_PARAMETERS: [&str; 7] =
    ["sslrootcert", "ssl-root-cert", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];
/// The values of `sslmode`.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// Statements of each connection by which a pooler that shares sessions is found.
const SESSION_PROBES: usize = 3;

/// Parses the URLs of the servers, separated by whitespace.
pub(super) fn parse_urls(urls: &str) -> Result<Vec<PgConnectOptions>, StoreError> {
    let unusable = |why: &str| StoreError::Unusable(format!("it must hold a PostgreSQL URL a line: {why}"));
    let parsed = urls
        .split_whitespace()
        .enumerate()
        .map(|(place, text)| parse_url(text).map_err(|why| unusable(&format!("URL {}: {why}", place + 1))));
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    if parsed.is_empty() { Err(unusable("it is empty")) } else { Ok(parsed) }
}

fn parse_url(text: &str) -> Result<PgConnectOptions, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("{error}; in a password, ? # & / @ are written %3F %23 %26 %2F %40"))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err("it must begin with postgres:// or postgresql://".to_owned());
    }
    if url.fragment().is_some() {
        return Err("a # in it must be written %23".to_owned());
    }
    for (name, value) in url.query_pairs() {
        if !PARAMETERS.contains(&name.as_ref()) && !name.starts_with("options[") {
            // Without a user, the text behind the question mark may be the end of a password.
            let is_shown = !url.username().is_empty();
            let what = if is_shown { format!("the parameter {name}") } else { "a parameter".to_owned() };
            return Err(format!("{what} is unknown; a ? or & in a password must be written %3F or %26"));
        }
        if matches!(name.as_ref(), "sslmode" | "ssl-mode") && !SSL_MODES.contains(&value.as_ref()) {
            return Err(format!("{name} must be one of {}", SSL_MODES.join(", ")));
        }
        if FILE_PARAMETERS.contains(&name.as_ref()) && !value.contains("-----BEGIN") {
            let file = Path::new(value.as_ref()).metadata();
            file.map_err(|error| format!("the file that {name} names, {value}: {error}"))?;
        }
    }
    PgConnectOptions::from_str(text).map_err(|error| error.to_string())
}

/// Describes why a server cannot be connected to: what the operator must change, or a fault that may pass.
pub(super) fn connection_fault(error: sqlx::Error) -> StoreError {
    let fault = match &error {
        sqlx::Error::Tls(cause) => format!("TLS to the server cannot be set up: {cause}"),
        sqlx::Error::Database(refusal) => {
            let why = describe(refusal.as_ref());
            match refusal.code().as_deref() {
                Some("28P01" | "28000") => format!("the server refuses the user or the password ({why})"),
                Some("3D000") => format!("the server has no such database ({why})"),
                Some("42501") => format!("the user may not connect to the database ({why})"),
                Some("26000" | "42P05") => format!("{POOLED_SESSIONS} ({why})"),
                Some("53300") => {
                    return StoreError::Unreachable(
                        format!("no connection is free on the server: {why}").into(),
                    );
                }
                _ => return error.into(),
            }
        }
        _ => return error.into(),
    };
    StoreError::Unusable(fault)
}

/// A pooler hands the sessions of the server out anew for each transaction or statement.
const POOLED_SESSIONS: &str = "a pooler between gateway and server shares sessions among connections, and settings, \
     prepared statements and NOTIFY need sessions of their own: set pool_mode = session in PgBouncer";

/// Checks the server: encoding, schema, whether it can be written, and whether each connection has a session of its own.
pub(super) async fn check_server(server: &PgConnectOptions) -> Result<(), StoreError> {
    let mut first = connect(server).await?;
    check_settings(&mut first).await?;
    let mut second = connect(server).await?;
    check_sessions(&mut first, &mut second).await
}

async fn connect(server: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let connected = tokio::time::timeout(MAX_PROBE_TIME, server.connect()).await;
    connected.unwrap_or_else(|_| Err(timeout_error())).map_err(connection_fault)
}

/// Runs a query as text, because a prepared statement needs what is checked here.
async fn query(conn: &mut PgConnection, sql: &'static str) -> Result<PgRow, StoreError> {
    let row = tokio::time::timeout(MAX_PROBE_TIME, raw_sql(sql).fetch_one(conn)).await;
    row.unwrap_or_else(|_| Err(timeout_error())).map_err(connection_fault)
}

async fn check_settings(conn: &mut PgConnection) -> Result<(), StoreError> {
    let sql = "SELECT current_setting('server_encoding') AS encoding, COALESCE(CAST(current_schema() AS TEXT), '') \
               AS schema, current_setting('search_path') AS search_path, \
               current_setting('transaction_read_only') AS read_only, CAST(current_user AS TEXT) AS role";
    let row = query(conn, sql).await?;
    let text = |column: &str| row.try_get::<String, _>(column);
    let (encoding, schema, search_path) = (text("encoding")?, text("schema")?, text("search_path")?);
    let (read_only, role) = (text("read_only")?, text("role")?);
    let fault = if encoding != "UTF8" {
        format!(
            "the encoding of the database is {encoding}, and it must be UTF8: create it with ENCODING 'UTF8'"
        )
    } else if schema.is_empty() {
        format!("search_path ({search_path}) names no schema that exists and that the role {role} may use")
    } else if read_only == "on" {
        format!("default_transaction_read_only is on for the role {role}, the database or the server")
    } else {
        return Ok(());
    };
    Err(StoreError::Unusable(fault))
}

/// Compares the server processes behind two connections. Each has one of its own for as long as it is open, unless a
/// pooler shares them.
async fn check_sessions(first: &mut PgConnection, second: &mut PgConnection) -> Result<(), StoreError> {
    let (mut of_first, mut of_second) = (BTreeSet::new(), BTreeSet::new());
    for _probe in 0..SESSION_PROBES {
        for (conn, processes) in [(&mut *first, &mut of_first), (&mut *second, &mut of_second)] {
            // Twice, because a pooler may take turns between as many sessions as there are connections.
            for _again in 0..2 {
                processes.insert(
                    query(conn, "SELECT pg_backend_pid() AS process").await?.try_get::<i32, _>("process")?,
                );
            }
        }
    }
    if of_first.len() == 1 && of_second.len() == 1 && of_first != of_second {
        return Ok(());
    }
    Err(StoreError::Unusable(POOLED_SESSIONS.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_used_is_described_without_its_password() {
        for (urls, why) in [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("localhost", "URL 1: relative URL without a base"),
            ("mysql://user:geheim@host/db", "URL 1: it must begin with postgres:// or postgresql://"),
            ("postgres://user:geheim@host/db?sslmod=require", "the parameter sslmod is unknown"),
            (
                "postgres://user:geheim@host/db\npostgres://host/db?SSLMODE=require",
                "URL 2: a parameter is unknown",
            ),
            ("postgres://user:1?geheim@host/db", "a ? or & in a password must be written %3F"),
            ("postgres://user:1#geheim@host/db", "a # in it must be written %23"),
            ("postgres://user:geheim@host/db?sslmode=always", "URL 1: sslmode must be one of disable, allow"),
            ("postgres://user:geheim@host:port/db", "URL 1: invalid port number"),
            ("postgres://user:geh#eim@host/db", "# & / @ are written %3F %23"),
            ("postgres://user:geh/eim@host/db", "# & / @ are written %3F %23"),
            (
                "postgres://user:geheim@host/db?sslrootcert=/gone.pem",
                "the file that sslrootcert names, /gone.pem: No such",
            ),
        ] {
            let Err(StoreError::Unusable(line)) = parse_urls(urls) else { panic!("{urls} is taken") };
            let is_described =
                line.starts_with("it must hold a PostgreSQL URL a line: ") && line.contains(why);
            assert!(is_described && !line.contains("geheim"), "{urls}: {line}");
        }
        let two =
            parse_urls("postgres://user:p%3Fw@host/db?sslmode=verify-full\npostgresql://user@host:6432");
        assert_eq!(two.unwrap().len(), 2);
    }
}
