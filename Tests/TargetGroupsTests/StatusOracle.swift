/// The facts that decide a membership.
struct Facts: Hashable {
    var ruleMatch = false
    var override = "none"
    var person = "active"
    var open: Set<String> = []
    var everMember = false
}

/// What the facts amount to.
struct Verdict: Hashable, CustomStringConvertible {
    var status: String
    var via: String?
    var reasons: [String]

    var description: String { "\(status)\(via.map { " via \($0)" } ?? "") \(reasons)" }
}

/// The status that facts amount to; nil means that there is no membership.
///
/// The specification written down a second time and in another way than in the database: as a ladder, with nothing shared.
func verdict(on facts: Facts) -> Verdict? {
    let ladder: [(reason: String, holds: (Facts) -> Bool)] = [
        ("erased", { $0.person == "erased" }),
        ("archived", { $0.person == "archived" }),
        ("complained", { $0.open.contains("complained") }),
        ("unsubscribed", { $0.open.contains("unsubscribed") }),
        ("cleaned", { $0.open.contains("cleaned") }),
        ("forgotten", { $0.open.contains("forgotten") }),
        ("removedInMailchimp", { $0.open.contains("removedInMailchimp") }),
        ("manual", { $0.override == "exclude" }),
    ]
    let wanted: Bool
    switch facts.override {
    case "include": wanted = true
    case "exclude": wanted = false
    default: wanted = facts.ruleMatch
    }
    let blockers = ladder.filter { rung in rung.holds(facts) }.map(\.reason)
    if wanted && blockers.isEmpty {
        return Verdict(status: "active", via: facts.override == "include" ? "manual" : "rule", reasons: [])
    }
    guard wanted || facts.everMember || facts.override == "exclude" else { return nil }
    return Verdict(status: "inactive", via: nil, reasons: blockers.isEmpty ? ["ruleNoLongerMatches"] : blockers)
}
