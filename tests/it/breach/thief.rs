//! The thief's script: it collects and reads what a stolen certificate can, and keeps what it receives.

use std::collections::{BTreeMap, BTreeSet};

use ap_gateway::client::{Client, Reply};
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    Alert, Delivery, DeliveryKind, GetAttendanceRequest, GetPassportRequest, GetPlacementRequest,
    ListAlertsRequest, ListAttendanceRequest, ListDeliveriesRequest, ListPlacementsRequest, PassportBlock,
    PassportBlockKind as BlockKind, RecordKind, WatchDeliveriesRequest, WatchDeliveriesResponse,
    WatchPosition, delivery_service, oversight_service, passport_service, placement_service, returns_service,
};
use prost::Message;

use super::super::support::World;
use super::{RIVERSIDE, THIEF};

/// What went out: exchange, placement, sender, kind of record and kinds of blocks.
pub type Record = (String, String, String, RecordKind, Vec<BlockKind>);

/// The thief's script, which keeps what it receives.
pub struct Thief {
    pub client: Client,
    pub kept: BTreeSet<Record>,
    /// Exchange in which it read a passport.
    pub passport_read: String,
    /// Commissioner of each placement.
    pub commissioners: BTreeMap<String, String>,
}

impl Thief {
    pub async fn new(world: &World) -> Self {
        let made = ap_gateway::cli::sandbox::world::load(world.dir.path()).unwrap();
        let id = |name: &str| {
            let mut organisations = made.organisations.iter();
            organisations.find(|organisation| organisation.name == name).unwrap().organisation.clone()
        };
        let placements = made.placements.iter();
        let commissioners =
            placements.map(|placed| (placed.placement_id.clone(), id(&placed.commissioner))).collect();
        Self {
            client: world.client(THIEF).await,
            kept: BTreeSet::new(),
            passport_read: String::new(),
            commissioners,
        }
    }

    fn keep(&mut self, exchange: &str, placement: &str, kind: RecordKind, blocks: Vec<BlockKind>) {
        let sender = match kind {
            RecordKind::Attendance => RIVERSIDE.to_owned(),
            _ => self.commissioners[placement].clone(),
        };
        self.kept.insert((exchange.to_owned(), placement.to_owned(), sender, kind, blocks));
    }

    /// Keeps the content of a delivery.
    fn keep_delivery(&mut self, exchange: &str, delivery: &Delivery) {
        match delivery.content.as_ref() {
            Some(Content::Placement(_)) => {
                let is_plan = delivery.kind() == DeliveryKind::Plan;
                let kind = if is_plan { RecordKind::Plan } else { RecordKind::Placement };
                self.keep(exchange, &delivery.placement_id, kind, Vec::new());
            }
            Some(Content::Passport(passport)) => {
                let blocks = block_kinds(&passport.blocks);
                self.keep(exchange, &delivery.placement_id, RecordKind::Passport, blocks);
            }
            Some(Content::Alert(alert)) => {
                for placement in alert_placements(alert) {
                    self.keep(exchange, &placement, RecordKind::Alert, Vec::new());
                }
            }
            Some(Content::Register(_)) => {}
            other => panic!("the script keeps no {:?}: {:?}", delivery.kind(), other.is_some()),
        }
    }

    /// Collects the mailbox of so many deliveries through a stream and through a list.
    pub async fn collect(&mut self, deliveries: usize) {
        let watch = WatchDeliveriesRequest::default();
        let mut stream = self.client.open_stream(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
        let position = |message: &WatchDeliveriesResponse| {
            WatchPosition { cursor: message.next.clone(), kinds: Vec::new() }.encode_to_vec().into()
        };
        let mut streamed = 0;
        for _ in 0..100 {
            let (message, receipt) = stream.next(position).await.unwrap().unwrap();
            let exchange = receipt.map(|receipt| receipt.exchange_id).unwrap_or_default();
            for delivery in &message.deliveries {
                self.keep_delivery(&exchange, delivery);
            }
            streamed += message.deliveries.len();
            if streamed >= deliveries {
                break;
            }
        }
        assert!(streamed == deliveries && deliveries > 10, "{streamed} of {deliveries}");
        drop(stream);
        let mut cursor = None;
        loop {
            let request = ListDeliveriesRequest { cursor, page_size: 7, ..ListDeliveriesRequest::default() };
            let page = self.client.call(delivery_service::LIST_DELIVERIES, &request).await.unwrap();
            for delivery in &page.message.deliveries {
                self.keep_delivery(&page.receipt.exchange_id, delivery);
            }
            cursor = page.message.next;
            if !page.message.more {
                break;
            }
        }
    }

    /// Reads all that is said of the placements.
    pub async fn read(&mut self) {
        let Reply { message, receipt } = self
            .client
            .call(placement_service::LIST_PLACEMENTS, &ListPlacementsRequest::default())
            .await
            .unwrap();
        let placements: Vec<String> =
            message.placements.into_iter().map(|placement| placement.placement_id).collect();
        assert!(placements.len() > 4);
        for placement in &placements {
            self.keep(&receipt.exchange_id, placement, RecordKind::Placement, Vec::new());
        }
        for placement in &placements {
            let request = GetPlacementRequest { placement_id: placement.clone() };
            let read = self.client.call(placement_service::GET_PLACEMENT, &request).await.unwrap();
            self.keep(&read.receipt.exchange_id, placement, RecordKind::Placement, Vec::new());
            let request =
                GetPassportRequest { placement_id: placement.clone(), ..GetPassportRequest::default() };
            // Most have no passport.
            if let Ok(read) = self.client.call(passport_service::GET_PASSPORT, &request).await {
                let blocks = block_kinds(&read.message.blocks);
                self.keep(&read.receipt.exchange_id, placement, RecordKind::Passport, blocks);
                self.passport_read = read.receipt.exchange_id;
            }
        }
        let request = GetAttendanceRequest {
            placement_id: placements[0].clone(),
            from_date: "2026-11-01".to_owned(),
            to_date: "2026-11-20".to_owned(),
            ..GetAttendanceRequest::default()
        };
        let read = self.client.call(returns_service::GET_ATTENDANCE, &request).await.unwrap();
        self.keep(&read.receipt.exchange_id, &placements[0], RecordKind::Attendance, Vec::new());
        let request = ListAttendanceRequest {
            from_date: "2026-11-02".to_owned(),
            to_date: "2026-11-04".to_owned(),
            ..ListAttendanceRequest::default()
        };
        let read = self.client.call(returns_service::LIST_ATTENDANCE, &request).await.unwrap();
        for listed in &read.message.placements {
            self.keep(&read.receipt.exchange_id, &listed.placement_id, RecordKind::Attendance, Vec::new());
        }
        let request = ListAlertsRequest::default();
        let read = self.client.call(oversight_service::LIST_ALERTS, &request).await.unwrap();
        for placement in read.message.alerts.iter().flat_map(alert_placements) {
            self.keep(&read.receipt.exchange_id, &placement, RecordKind::Alert, Vec::new());
        }
    }

    /// Returns what was kept of a controller.
    pub fn of_controller(&self, controller: &str) -> BTreeSet<Record> {
        // The owner of the certificate answers for all of it.
        let is_own = |(_, _, sender, ..): &&Record| controller == RIVERSIDE || sender == controller;
        self.kept.iter().filter(is_own).cloned().collect()
    }
}

fn alert_placements(alert: &Alert) -> Vec<String> {
    let figures = alert.figures.iter().flat_map(|figures| figures.placement_ids.clone());
    let one = Some(alert.placement_id.clone()).filter(|placement| !placement.is_empty());
    figures.chain(one).collect()
}

/// Returns the kinds of blocks, in the order of their numbers.
fn block_kinds(blocks: &[PassportBlock]) -> Vec<BlockKind> {
    let kind = |block: &PassportBlock| match block.content.as_ref().unwrap() {
        Block::Identity(_) => BlockKind::Identity,
        Block::Voice(_) => BlockKind::Voice,
        Block::Communication(_) => BlockKind::Communication,
        Block::Needs(_) => BlockKind::Needs,
        Block::Regulation(_) => BlockKind::Regulation,
        Block::Emergency(_) => BlockKind::Emergency,
        Block::Medical(_) => BlockKind::Medical,
        Block::Safety(_) => BlockKind::Safety,
        Block::Learning(_) => BlockKind::Learning,
        Block::Team(_) => BlockKind::Team,
        Block::Health(_) => BlockKind::Health,
        Block::Safeguarding(_) => BlockKind::Safeguarding,
        Block::Meta(_) => BlockKind::Meta,
    };
    let mut kinds: Vec<BlockKind> = blocks.iter().map(kind).collect();
    kinds.sort_unstable_by_key(|kind| *kind as i32);
    kinds
}
