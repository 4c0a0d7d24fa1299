import ArgumentParser
import FoundationEssentials
import Postgres
import TargetGroups

/// `koppeling why`: why a person is, or is not, a member.
struct Why: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Say why a person is, or is not, a member of a group.")

    @OptionGroup var member: MemberArguments

    @Flag(help: "As one JSON object.")
    var json = false

    func run() async throws {
        try await Runtime.with { runtime in
            let (group, person) = try await member.find(in: runtime.pool)
            let explanation = try await Memberships(pool: runtime.pool).why(person: person, group: group)
            if json {
                Console.line(try JSONText(encoding: explanation).text)
            } else {
                for line in lines(explanation) { Console.line(line) }
            }
        }
    }

    private func lines(_ explanation: Explanation) -> [String] {
        var lines = [headline(explanation)]
        switch explanation.override {
        case .include: lines.append("Added by hand.")
        case .exclude: lines.append("Removed by hand.")
        case .none:
            if let rule = explanation.matchedRule, explanation.ruleMatch {
                lines.append("Rule \(rule) matches.")
            } else {
                lines.append("No rule matches.")
            }
        }
        lines += explanation.suppressions.map {
            "\($0.reason.rawValue), said by \($0.source) at \($0.occurredAt.formatted(.iso8601))"
        }
        if explanation.isPending { lines.append("A change of the person still waits to be evaluated.") }
        if !explanation.changes.isEmpty { lines.append("") }
        lines += Listing.aligned(
            explanation.changes.map { change in
                let values = "\(Self.plain(change.old)) -> \(Self.plain(change.new))"
                return [change.at.formatted(.iso8601), change.kind, values, change.cause, change.actor]
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

    /// A recorded value for a reader: a status with what explains it, anything else as it is.
    private static func plain(_ value: String?) -> String {
        struct Status: Decodable { var status: String?, via: String?, reasons: [String]? }
        guard let value else { return "none" }
        if let status = try? JSONText(value).decode(Status.self) {
            let explanation = ([status.via].compactMap(\.self) + (status.reasons ?? [])).joined(separator: ", ")
            return (status.status ?? "none") + (explanation.isEmpty ? "" : " (\(explanation))")
        }
        return (try? JSONText(value).decode(String.self)) ?? value
    }
}
