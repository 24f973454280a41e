//! Names of organisations, for people who read ids badly, and of those who were told of a change. They are read by the
//! system, also where the command is run for a person: the log has the person's own exchanges only.

use std::collections::BTreeMap;

use crate::client::Client;
use crate::proto::v1::{GetExchangeRequest, ListDirectoryRequest, Receipt, audit_service, register_service};

/// Organisations whose names one request asks for.
const NAMES_PER_CALL: usize = 1_000;

/// Returns the names of those whom an exchange of the caller concerned.
pub async fn list_told(client: &Client, receipt: &Receipt) -> String {
    let client = client.clone().without_token();
    let request = GetExchangeRequest { exchange_id: receipt.exchange_id.clone() };
    let Ok(reply) = client.call(audit_service::GET_EXCHANGE, &request).await else {
        return format!("not known; `audit list` shows exchange {}", receipt.exchange_id);
    };
    let counterparts = reply.message.exchange.unwrap_or_default().counterparts;
    if counterparts.is_empty() {
        return "nobody else".to_owned();
    }
    Names::read(&client, counterparts.iter().map(String::as_str)).await.all(&counterparts)
}

/// Names of organisations by id.
#[derive(Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Reads the names of organisations. Without the right to the directory, such as a processor's, ids stand for names.
    pub async fn read<'i>(client: &Client, ids: impl Iterator<Item = &'i str>) -> Self {
        let client = client.clone().without_token();
        let mut ids: Vec<String> = ids.filter(|id| !id.is_empty()).map(str::to_owned).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut names = Self::default();
        for some in ids.chunks(NAMES_PER_CALL) {
            let page_size = i32::try_from(NAMES_PER_CALL).unwrap_or(0);
            let organisations = some.to_vec();
            let request =
                ListDirectoryRequest { page_size, organisations, ..ListDirectoryRequest::default() };
            let Ok(reply) = client.call(register_service::LIST_DIRECTORY, &request).await else {
                break;
            };
            let entries = reply.message.organisations.into_iter();
            names.0.extend(entries.map(|entry| (entry.organisation, entry.display_name)));
        }
        names
    }

    /// Returns the name of an organisation, or its id if the name is not known.
    #[must_use]
    pub fn name_or_id(&self, id: &str) -> String {
        self.0.get(id).map_or(id, String::as_str).to_owned()
    }

    /// Returns the name of an organisation with its id.
    #[must_use]
    pub fn with_id(&self, id: &str) -> String {
        self.0.get(id).map_or_else(|| id.to_owned(), |name| format!("{name} ({id})"))
    }

    /// Returns the names of several organisations, each with its id.
    #[must_use]
    pub fn all(&self, ids: &[String]) -> String {
        ids.iter().map(|id| self.with_id(id)).collect::<Vec<_>>().join(", ")
    }
}
