//! Which verb serves each method of the gateway. `call` serves all of them; `call --list` prints this table.

/// The verb that serves a method, by the method's name.
pub const VERBS: &[(&str, &str)] = &[
    ("RegisterOrganisation", "org register"),
    ("UpdateOrganisation", "org rename"),
    ("GetOrganisation", "org show"),
    ("ListOrganisations", "org list"),
    ("ListDirectory", "org list"),
    ("RegisterCertificate", "cert register"),
    ("RevokeCertificate", "cert revoke"),
    ("AuthoriseProcessor", "grant processor"),
    ("AppointAuditor", "grant auditor"),
    ("ListGrants", "grant list"),
    ("EndGrant", "grant end"),
    ("ProposeAgreement", "agreement propose"),
    ("CountersignAgreement", "agreement sign"),
    ("EndAgreement", "agreement end"),
    ("GetAgreement", "agreement show"),
    ("ListAgreements", "agreement list"),
    ("RegisterIssuer", "issuer register"),
    ("EndIssuer", "issuer end"),
    ("ListIssuers", "issuer list"),
    ("ListPractitioners", "practitioner list"),
    ("EndPractitioner", "practitioner end"),
    ("PutTermDates", "terms put"),
    ("GetTermDates", "terms show"),
    ("DeclareClosure", "closure declare"),
    ("ListClosures", "closure list"),
    ("CreateReferral", "referral push"),
    ("RespondToReferral", "referral accept"),
    ("DecidePlacement", "placement decide"),
    ("PutPlan", "plan push"),
    ("StartPlacement", "placement start"),
    ("EndPlacement", "placement end"),
    ("UpdateParties", "placement parties"),
    ("GetPlacement", "placement show"),
    ("ListPlacements", "placement list"),
    ("PutPassport", "passport put"),
    ("GetPassport", "passport get"),
    ("ListPassportVersions", "passport versions"),
    ("SharePassport", "passport share"),
    ("WithholdInformation", "passport withhold"),
    ("SubmitAttendance", "submit attendance"),
    ("StreamAttendance", "call"),
    ("VoidReturn", "returns void"),
    ("ConfirmMarks", "marks confirm"),
    ("NotifyExpectedAbsence", "absence expect"),
    ("ListExpectedReturns", "returns list"),
    ("GetAttendance", "marks show"),
    ("ListAttendance", "marks show"),
    ("SubmitProgress", "progress submit"),
    ("GetProgress", "progress show"),
    ("WatchDeliveries", "deliveries watch"),
    ("ListDeliveries", "deliveries list"),
    ("AcknowledgeDelivery", "passport acknowledge"),
    ("GetDeliveryStatus", "deliveries status"),
    ("ListAlerts", "alerts list"),
    ("ResolveAlert", "alerts resolve"),
    ("GetOversightReport", "report findings"),
    ("ListExchanges", "audit list"),
    ("GetExchange", "exchange show"),
    ("GetBreachScope", "breach scope"),
    ("GetCheckpoint", "audit head"),
    ("GetInclusionProof", "audit prove"),
    ("GetConsistencyProof", "audit compare"),
    ("ListOrganisationStatus", "status"),
];

/// Returns the verb that serves a method.
#[must_use]
pub fn verb_of(method: &str) -> &'static str {
    VERBS.iter().find(|(known, _)| *known == method).map_or("call", |(_, verb)| verb)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::super::args::Arguments;
    use super::*;
    use crate::proto;

    #[test]
    fn every_method_has_a_verb_and_every_verb_is_a_command() {
        let commands = Arguments::command();
        for (method, verb) in VERBS {
            assert!(proto::methods().any(|known| known.name() == *method), "{method} is no method");
            let mut found = &commands;
            for word in verb.split(' ') {
                let sub = found.find_subcommand(word);
                found = sub.unwrap_or_else(|| panic!("{verb}, which serves {method}, is no command"));
            }
        }
        for method in proto::methods() {
            let is_served = VERBS.iter().any(|(known, _)| *known == method.name());
            assert!(is_served, "no verb serves {}: give it one in src/cli/verbs/by_method.rs", method.name());
        }
    }
}
