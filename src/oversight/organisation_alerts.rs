//! Alerts that are about no placement: each organisation that is told of the subject has one of its own, whose life
//! depends on nothing but its own children's facts.

use prost::Message;

use super::alert_changes::{self, Notice, Opening, open_or_reopen};
use super::alerts::{self, AlertRow};
use super::rule::NewAlert;
use super::subject::Subject;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, Refusal, RequestContext};
use crate::proto::v1::{AlertFigures, AlertState, DeliveryKind};
use crate::register::terms;

/// An organisation's view of a subject.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) subject: &'a Subject,
    pub(super) organisation: &'a OrganisationId,
    /// Day by which the cause should have been gone.
    pub(super) due_date: Date,
}

impl View<'_> {
    /// Opens the organisation's alert if there are figures, brings those of an open one up to date, and closes it if there
    /// are none. Returns the change with the alert's moment, and the notice if a row is to be written.
    pub(super) async fn decide(
        &self,
        cx: &mut RequestContext,
        change: Change,
        opening: Opening<'_>,
        figures: Option<&AlertFigures>,
    ) -> Result<(Change, Option<Notice>), Refusal> {
        let about = (None, Some(self.organisation));
        let newest = alerts::newest_about(&mut cx.snapshot, opening.rule, self.subject, about).await?;
        let figures = figures.map(Message::encode_to_vec);
        let newest = match (newest, &figures) {
            (Some(open), _) if open.state == AlertState::Open => {
                cx.snapshot.record_read(alerts::key(open.id), open.version);
                return change_open(cx, change, open, figures).await;
            }
            (_, None) => return Ok((change, None)),
            (newest, Some(_)) => newest,
        };
        let calendar = terms::load_calendar(&mut cx.snapshot, self.organisation).await?;
        let new = NewAlert { item: None, due_date: self.due_date };
        let opening = Opening { calendar: &calendar, ..opening };
        let opened = open_or_reopen(cx, opening, (self.subject, &new, newest));
        let Some(opened) = opened else { return Ok((change, None)) };
        let organisation = self.organisation.clone();
        let alert = AlertRow { organisation: Some(organisation.clone()), figures, ..opened };
        let change = alert_changes::schedule_moment(cx, change, opening, &alert).await?;
        let notice = Notice { kind: DeliveryKind::Alert, alert, recipients: vec![organisation] };
        Ok((change, Some(notice)))
    }
}

/// Brings the figures of an open alert up to date, or closes it without any. `None`: it stays as it is. New figures are not
/// delivered, because whoever was told of the alert reads them when it lists the alert.
async fn change_open(
    cx: &mut RequestContext,
    change: Change,
    open: AlertRow,
    figures: Option<Vec<u8>>,
) -> Result<(Change, Option<Notice>), Refusal> {
    if figures.is_none() {
        let (change, notice) = alert_changes::closing(cx, change, open, None).await?;
        return Ok((change, Some(notice)));
    }
    let alert = (open.figures != figures).then(|| AlertRow { figures, ..open.next() });
    let notice = alert.map(|alert| Notice { kind: DeliveryKind::Alert, alert, recipients: Vec::new() });
    Ok((change, notice))
}
