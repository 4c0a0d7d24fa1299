import ArgumentParser
import Connector
import FoundationEssentials
import Postgres

/// `koppeling person erase`: forget a person everywhere, here and in Mailchimp.
struct PersonErase: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "erase", abstract: "Erase a person, here and in Mailchimp, for good; again, say how far it is.",
        discussion: """
            Everything that tells who it was goes at once; contacts in Mailchimp are deleted by the workers, also of \
            instances that are off. Nothing brings the person back: a later put of the same source and id is skipped. \
            Lists that were linked once and are no more are named: look there in Mailchimp.
            """)

    @OptionGroup var person: PersonArguments

    @Flag(help: "Say what would be removed, and remove nothing.")
    var dryRun = false

    @Flag(help: "Search every table for what is left; reads the whole database.")
    var prove = false

    @Option(
        name: .customLong("address"),
        help: ArgumentHelp(
            "With --prove: an address to search for as well; once a person is erased, none is known here. Repeatable.",
            valueName: "address"))
    var addresses: [String] = []

    @Flag(help: "As one JSON object.")
    var json = false

    func validate() throws {
        guard prove || addresses.isEmpty else { throw ValidationError("--address is searched for with --prove only.") }
    }

    func run() async throws {
        try await LinkServices.with { runtime, services in
            let report = try await Erasures(pool: runtime.pool, vault: services.vault).erase(
                source: person.source, id: person.id, actor: runtime.actor, proves: prove, addresses: addresses,
                isDryRun: dryRun)
            for line in json ? [report.text] : try lines(report) { Console.line(line) }
        }
    }

    private struct Report: Decodable {
        struct Contact: Decodable {
            var instance: String
            var outcome: String
            var at: String
        }
        struct List: Decodable {
            var account: String?
            var list: String
            var list_id: String
            var group: String
            var until: String
        }
        var person: Int64
        var erased_at: String
        var actor: String
        var removed: [String: Int64]
        var contacts: [Contact]
        var lists_not_reached: [List]
        var is_complete: Bool
        var is_dry_run: Bool
        var puts_skipped: Int64
        var traces: [String: Int64]?
    }

    private func lines(_ json: JSONText) throws -> [String] {
        let report = try json.decode(Report.self)
        var lines = [
            report.is_dry_run
                ? "Would erase person \(report.person). Nothing was changed."
                : "Person \(report.person), erased at \(report.erased_at) by \(report.actor)."
        ]
        lines += Listing.aligned(
            report.removed.sorted { $0.key < $1.key }.map { ["  " + $0.key, String($0.value)] })
        lines += report.contacts.map { "Contact in '\($0.instance)': \($0.outcome), \($0.at)." }
        lines += report.lists_not_reached.map {
            let account = $0.account.map { " of account '\($0)'" } ?? ""
            return "Not looked for in list '\($0.list)' (\($0.list_id))\(account), linked until \($0.until): "
                + "delete the contact there for good in Mailchimp, if it is there."
        }
        if report.puts_skipped > 0 { lines.append("Put again and skipped: \(report.puts_skipped).") }
        if let traces = report.traces {
            lines += traces.sorted { $0.key < $1.key }.map { "Left in \($0.key): \($0.value)." }
            if traces.isEmpty { lines.append("No table holds an address of this person.") }
        } else if prove {
            lines.append("Nothing was searched: no address of this person is known any more. Name one with --address.")
        }
        if !report.is_dry_run {
            lines.append(
                report.is_complete
                    ? "Complete."
                    : "Not complete: Mailchimp is still to be told, or is looked at again after 20 minutes.")
        }
        return lines
    }
}

/// `koppeling person erased`: who was erased, by number.
struct PersonErased: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "erased", abstract: "List the erasures, the newest first, by number only.")

    @OptionGroup var listing: ListingOptions

    @Option(help: "Only those before this number.")
    var before: Int64?

    func run() async throws {
        try await Runtime.with { runtime in
            try await Listing.show(
                """
                \(unsafe: Listing.open)
                select * from koppeling.erasures
                where \(before)::bigint is null or id < \(before)::bigint
                order by id desc
                limit \(listing.limit)
                \(unsafe: Listing.close)
                """, from: runtime.pool, json: listing.json)
        }
    }
}
