import ArgumentParser
import FoundationEssentials
import Postgres
import TargetGroups

/// `koppeling why`: why a person is, or is not, a member.
struct Why: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say why a person is, or is not, in a group and on its list.",
        discussion: """
            The facts and what blocks, the rule that matches, the last changes and actions, and what Mailchimp said. With \
            --at the facts are those of that moment, as the audit has them; the contact is always as it is known now.
            """)

    @OptionGroup var person: PersonArguments

    @Argument(help: "The group.")
    var group: String

    @Option(help: "A moment, such as 2026-05-31T08:00:00Z or 2026-05-31.", transform: moment)
    var at: Date?

    @Flag(help: "As one JSON object.")
    var json = false

    func run() async throws {
        try await person.with { runtime in
            let explanation = try await explanation(runtime.pool)
            let lines =
                json
                ? [explanation.text]
                : try lines(explanation.decode(Explanation.self))
                    + DeliveryLines.of(try explanation.decode(DeliveryLines.Whole.self).delivery)
            for line in lines { Console.line(line) }
        }
    }

    private func explanation(_ pool: Pool) async throws -> JSONText {
        try await pool.query(
            """
            select koppeling.why(\(person.source)::text, \(person.id)::text, \(group)::text, \(at)::timestamptz)
            """
        ).scalar()
    }

    private func lines(_ explanation: Explanation) -> [String] {
        var lines = [headline(explanation)]
        switch explanation.override {
        case .include: lines.append("Added by hand.")
        case .exclude: lines.append("Removed by hand.")
        case .none: break
        }
        if let rule = explanation.matchedRule, explanation.ruleMatch {
            lines.append("Rule \(rule) matches: \(explanation.ruleText ?? "").")
        } else {
            lines.append("No rule matches.")
        }
        lines += explanation.suppressions.map {
            let moment = $0.occurredAt.rfc3339
            return
                "\($0.reason.rawValue), at the \($0.standsAt), said by \($0.source)\($0.actor.map { " (\($0))" } ?? "") at \(moment)"
        }
        if explanation.isPending { lines.append("A change of the person still waits to be evaluated.") }
        if !explanation.changes.isEmpty { lines.append("") }
        lines += Listing.aligned(
            explanation.changes.map { change in
                let values = [change.old, change.new].map { ($0 ?? .none).words }.joined(separator: " -> ")
                return [change.at.rfc3339, change.kind, values, change.cause, change.actor]
            })
        return lines
    }

    private func headline(_ explanation: Explanation) -> String {
        switch explanation.status {
        case .active: "A member."
        case .inactive: "No member: " + explanation.reasons.map(\.rawValue).joined(separator: ", ") + "."
        case nil: "No member, and never was one."
        }
    }
}
