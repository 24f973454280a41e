//! The commands about alerts, run as people run them: `alerts list` with its filters, `alerts resolve`, and what `watch
//! alerts` shows of it.

use serde_json::Value;

use super::exchange_semantics::new_id;
use super::person_commands::{RESPONSE_LOST, Shell};
use super::support::World;
use super::watch_command::{UnwritableOutput, run_with_output};

/// Arguments of `alerts resolve` after the alert.
const RESOLUTION: [&str; 6] =
    ["--note", "read with the family", "--officer", "Jo Example", "--officer-role", "DSL"];

fn text<'a>(alert: &'a Value, field: &str) -> &'a str {
    alert[field].as_str().unwrap_or_default()
}

/// Each filter selects what it says, and an alert is shown with its rule and the provider's reference.
fn alerts_are_listed(shell: &Shell<'_>, world: &World) {
    let all = shell.json("la-a", &["alerts", "list"]);
    let count = |filter: &[&str]| shell.json("la-a", &[&["alerts", "list"], filter].concat()).len();
    assert!(all.len() > 2 && all.iter().all(|alert| text(alert, "state") == "ALERT_STATE_OPEN"));
    let placement = text(&all[0], "placement_id");
    for (filter, found) in [
        (&["--rule", "OPEN_ITEM_OVERDUE"][..], all.len()),
        (&["--rule", "PAST_END"], 0),
        (&["--severity", "3"], all.len()),
        (&["--severity", "1"], 0),
        (&["--state", "open"], all.len()),
        (&["--state", "resolved"], 0),
        (&["--placement", placement], 1),
        (&["--placement", placement, "--severity", "2"], 0),
        (&["--order", "received"], all.len()),
    ] {
        assert_eq!(count(filter), found, "{filter:?}");
    }
    let ids = |alerts: &[Value]| -> Vec<String> {
        alerts.iter().map(|alert| text(alert, "alert_id").to_owned()).collect()
    };
    let received = shell.json("la-a", &["alerts", "list", "--order", "received"]);
    let key = |alert: &Value| {
        (
            text(alert, "act_by_time").to_owned(),
            text(alert, "raised_time").to_owned(),
            text(alert, "alert_id").to_owned(),
        )
    };
    assert!(all.is_sorted_by_key(key), "all have one severity and level");
    let (mut sorted, mut others) = (ids(&all), ids(&received));
    sorted.sort();
    others.sort();
    assert_eq!(sorted, others);
    let table = shell.succeed("la-a", &["alerts", "list", "--placement", placement]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ALERT ") && lines.len() == 2, "{table}");
    let listed = shell.json("la-a", &["placements", "list"]);
    let reference = listed.iter().find(|found| text(found, "placement_id") == placement).unwrap();
    for shown in [
        "OPEN_ITEM_OVERDUE SAFETY_NOT_ACKNOWLEDGED",
        "  open  ",
        "2026-09-08",
        placement,
        text(reference, "provider_reference"),
        text(&all[0], "provider"),
        text(&all[0], "alert_id"),
    ] {
        assert!(lines[1].contains(shown), "{shown}: {table}");
    }
    // Escalated twice, the last time when Wednesday 7 October ended; ten school days after it is the 21st.
    assert!(lines[1].contains("  3         2  ") && lines[1].contains("2026-10-21 end of day"), "{table}");
    assert_eq!(world.placements("la-b", "provider-a").len(), shell.json("la-b", &["alerts", "list"]).len());
}

/// What does not fit is refused, by the command or by the gateway.
fn refusals_say_why(shell: &Shell<'_>) {
    for (words, code, reason) in [
        (&["--rule", "PAST_LIFE"][..], 1, "INVALID_REQUEST"),
        (&["--placement", "7"], 1, "INVALID_REQUEST"),
        (&["--severity", "4"], 2, "--severity"),
        (&["--state", "lost"], 2, "--state"),
        (&["--order", "random"], 2, "--order"),
    ] {
        let message = shell.fail("la-a", &[&["alerts", "list"], words].concat(), code);
        assert!(message.contains(reason), "{words:?}: {message}");
    }
    for stranger in ["auditor", "operator"] {
        assert!(shell.fail(stranger, &["alerts", "list"], 1).contains("METHOD_NOT_ALLOWED"), "{stranger}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_listed_and_resolved_by_commands() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    alerts_are_listed(&shell, &world);
    refusals_say_why(&shell);
    let of_provider = shell.json("provider-a", &["alerts", "list", "--state", "open"]);
    let is_of_la = |alert: &&Value| text(alert, "commissioner") == "la/330";
    let mut of_la = of_provider.iter().filter(is_of_la).map(|alert| text(alert, "alert_id"));
    let (first, second) = (of_la.next().unwrap(), of_la.next().unwrap());
    // The mailbox is read before, so that the end alone is new afterwards.
    shell.succeed("la-a", &["watch", "alerts", "--once"]);
    let resolve = [&["alerts", "resolve", first], &RESOLUTION[..]].concat();
    let stranger = shell.fail("provider-c", &resolve, 1);
    assert!(stranger.contains("NOT_FOUND"), "{stranger}");
    let done = shell.succeed("provider-a", &resolve);
    let parties = done.strip_prefix(&format!("resolved alert {first}\ntold: ")).unwrap_or_default();
    assert!(parties.contains("Local authority A (la/330)") && !parties.contains("provider/"), "{done}");
    let again = shell.fail("la-a", &resolve, 1);
    assert!(again.contains("STATE_INVALID"), "{again}");
    let resolved = shell.json("la-a", &["alerts", "list", "--state", "resolved"]);
    let [resolved] = &resolved[..] else { panic!("not one") };
    assert_eq!(
        [text(resolved, "alert_id"), text(resolved, "resolved_by"), text(resolved, "note")],
        [first, "provider/riverside", RESOLUTION[1]]
    );
    let shown = shell.succeed("la-a", &["watch", "alerts", "--once"]);
    assert!(shown.contains("  ALERT_ENDED ") && shown.lines().count() == 1, "{shown}");
    assert!(shown.trim_end().ends_with(": resolved by provider/riverside, level 2"), "{shown}");
    // What has taken effect is said although it cannot be printed, and the id repeats it.
    let id = new_id();
    let resolve = [&["alerts", "resolve", second], &RESOLUTION[..], &["--request-id", &id]].concat();
    let (code, message) = run_with_output(&mut shell.command("provider-a", &resolve), UnwritableOutput::Full);
    assert!(code == Some(69) && message.contains(RESPONSE_LOST), "{message}");
    assert_eq!(shell.json("provider-a", &resolve)[0]["state"], "ALERT_STATE_RESOLVED");
    world.stop().await;
}
