//! A connection of a verb: it calls, reads all pages of a list, and prints a reply as protobuf JSON or in words, with the
//! names of organisations and with those who were told.

use prost::Message;
use prost_reflect::{DynamicMessage, Kind, MethodDescriptor, Value};

use super::args::ProfileArgs;
use super::names::{Names, list_told};
use super::{Failure, json_request, output, print_line, profile};
use crate::client::Client;
use crate::proto::v1::{Officer, Receipt};
use crate::proto::{self, Rpc};

/// Maximum number of pages of a list.
const MAX_PAGES: usize = 10_000;

/// Connection of a verb, with the arguments that say how it prints.
pub struct Session<'a> {
    client: Client,
    args: &'a ProfileArgs,
}

/// Reply to a request that changed something.
pub struct Changed<R> {
    /// The reply.
    pub reply: R,
    message: DynamicMessage,
    receipt: Receipt,
}

impl<'a> Session<'a> {
    /// Connects as the arguments say.
    ///
    /// # Errors
    /// The profile's, and the client's.
    pub async fn open(args: &'a ProfileArgs) -> Result<Self, Failure> {
        Ok(Self { client: profile::connect_from_args(args).await?, args })
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns whether replies are printed as JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.args.json
    }

    /// Makes a call that only reads.
    ///
    /// # Errors
    /// The client's.
    pub async fn read<Req: Message, Resp: Message + Default>(
        &self,
        rpc: Rpc<Req, Resp>,
        request: &Req,
    ) -> Result<Resp, Failure> {
        Ok(self.client.call(rpc, request).await?.message)
    }

    /// Makes a call that only reads, and prints the reply as JSON or, with `text`, in words.
    ///
    /// # Errors
    /// The client's; exit code 69 if standard output cannot be written.
    pub async fn show<Req: Message, Resp: Message + Default>(
        &self,
        rpc: Rpc<Req, Resp>,
        request: &Req,
        text: impl AsyncFnOnce(&Self, Resp) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let reply = self.read(rpc, request).await?;
        if self.is_json() {
            output::print_json(method_of(rpc.path())?.output().name(), &reply)?;
        } else {
            text(self, reply).await?;
        }
        output::check_written()
    }

    /// Makes a call that changes something; sets a request id if the request has none.
    ///
    /// # Errors
    /// The client's, with the request id.
    pub async fn change<Req: Message, Resp: Message + Default>(
        &self,
        rpc: Rpc<Req, Resp>,
        request: &Req,
    ) -> Result<Changed<Resp>, Failure> {
        let method = method_of(rpc.path())?;
        let mut dynamic = DynamicMessage::new(method.input());
        dynamic.transcode_from(request).map_err(|error| Failure::bug("a request", error))?;
        let answered = json_request::call(&self.client, &method, dynamic).await?;
        let reply = answered.message.transcode_to().map_err(|error| Failure::bug("a reply", error))?;
        Ok(Changed { reply, message: answered.message, receipt: answered.receipt })
    }

    /// Prints the reply to a change as JSON, or else what was done and who was told.
    ///
    /// # Errors
    /// Exit code 69 if standard output cannot be written.
    pub async fn report<R>(&self, changed: &Changed<R>, text: &str) -> Result<(), Failure> {
        if self.is_json() {
            print_line(&output::dynamic_to_json(&changed.message)?.to_string());
        } else {
            print_line(text);
            print_line(&format!("told: {}", list_told(&self.client, &changed.receipt).await));
        }
        output::check_response_written()
    }

    /// Reads all pages of a list. With `--json` each item is printed as one line, and nothing is returned.
    ///
    /// # Errors
    /// The client's; exit code 69 if standard output cannot be written.
    pub async fn list<Req: Message, Resp: Message + Default>(
        &self,
        rpc: Rpc<Req, Resp>,
        request: &Req,
    ) -> Result<Vec<Resp>, Failure> {
        let method = method_of(rpc.path())?;
        let mut query = DynamicMessage::new(method.input());
        query.transcode_from(request).map_err(|error| Failure::bug("a request", error))?;
        let mut pages = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = self.client.call_dynamic(&method, &query).await?.message;
            let next = page.get_field_by_name("next_page_token").map(std::borrow::Cow::into_owned);
            if self.is_json() {
                print_items(&page)?;
            } else {
                pages.push(page.transcode_to().map_err(|error| Failure::bug("a reply", error))?);
            }
            match next {
                Some(Value::String(token)) if !token.is_empty() => {
                    query.set_field_by_name("page_token", Value::String(token));
                }
                _ => break,
            }
        }
        output::check_written()?;
        Ok(pages)
    }

    /// Reads the names of organisations. Without the right to the directory, such as a processor's, ids stand for names.
    pub async fn names<'i>(&self, ids: impl Iterator<Item = &'i str>) -> Names {
        Names::read(&self.client, ids).await
    }
}

/// Prints each message of the repeated field of a page as one line of JSON.
fn print_items(page: &DynamicMessage) -> Result<(), Failure> {
    for (field, value) in page.fields() {
        let (true, Kind::Message(_), Value::List(items)) = (field.is_list(), field.kind(), value) else {
            continue;
        };
        for item in items.iter().filter_map(Value::as_message) {
            print_line(&output::dynamic_to_json(item)?.to_string());
        }
    }
    Ok(())
}

fn method_of(path: &str) -> Result<MethodDescriptor, Failure> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let found = proto::methods().find(|method| method.name() == name);
    found.ok_or_else(|| Failure::bug(name, std::io::Error::other("not described")))
}

/// Returns the name of a value of an enum in lower case, without the name of the enum: `active`, `section-19`.
#[must_use]
pub fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

/// Returns the number of the value of an enum that a word of the command line names.
///
/// # Errors
/// Exit code 2 for another word, with those that there are.
pub fn enum_value(enumeration: &str, prefix: &str, option: &str, word_given: &str) -> Result<i32, Failure> {
    let described = proto::descriptor_pool().get_enum_by_name(&format!("apgateway.v1.{enumeration}"));
    let values: Vec<_> = described
        .iter()
        .flat_map(prost_reflect::EnumDescriptor::values)
        .filter(|value| value.number() != 0)
        .map(|value| (word(value.name(), prefix), value.number()))
        .collect();
    let wanted = word_given.to_ascii_lowercase().replace('_', "-");
    let found = values.iter().find(|(word, _)| *word == wanted);
    found.map(|(_, number)| *number).ok_or_else(|| {
        let words = values.iter().map(|(word, _)| word.as_str()).collect::<Vec<_>>().join(", ");
        Failure::usage(format!("{option} is one of {words}"))
    })
}

/// Returns the officer whom a command names.
#[must_use]
pub fn officer(args: &super::args::OfficerArgs) -> Officer {
    Officer { name: args.officer.clone(), role: args.officer_role.clone(), ..Officer::default() }
}
