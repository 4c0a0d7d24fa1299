import ArgumentParser
import Connector
import FoundationEssentials
import Postgres

/// Linking a list and reading it, each also as a dry run.
extension InstanceCommand {
    struct Link: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Link a list: its target group and three action templates are made with it.",
            discussion: """
                The link starts turned off. Its first changes always wait in a plan. Whoever said no to another list of \
                the account, or to this one before, is barred from it.
                """)

        @Argument(help: "The account's name or number.")
        var account: String

        @Option(help: "The list's id or exact name; not needed when the account has only one.")
        var list: String?

        @Option(help: "The name of the link; the list's name of now without.")
        var name: String?

        @Option(help: "Which of a person's addresses is written to.")
        var emailKind = "zakelijk"

        @Flag(help: "Make the merge fields FNAME and LNAME where the list has none.")
        var makeFields = false

        @Flag(help: "Let who said no to another list of the account be sent to this one.")
        var noCarry = false

        @Flag(help: "Only say what would be made; nothing is written, here or in Mailchimp.")
        var dryRun = false

        @Flag(help: "With --dry-run: one JSON object instead of lines.")
        var json = false

        func run() async throws {
            try await LinkServices.with { runtime, services in
                if dryRun {
                    let preview = try await services.instances.previewLink(
                        account: try await services.accounts.find(account), list: list, name: name,
                        emailKind: emailKind, carriesNoes: !noCarry)
                    return json ? try Console.json(preview) : tell(preview)
                }
                let instance = try await services.instances.link(
                    account: try await services.accounts.find(account), list: list, name: name,
                    emailKind: emailKind, makesFields: makeFields, carriesNoes: !noCarry,
                    actor: runtime.actor)
                Console.line("\(instance.id)  \(instance.name)  \(instance.targetGroup)")
            }
        }

        private func tell(_ preview: Instances.LinkPreview) {
            Console.line("list: \(preview.listName) (\(preview.listID))")
            Console.line("instance: \(preview.name), turned off; group: \(preview.targetGroup)")
            let have = preview.persons == 1 ? "person has" : "persons have"
            Console.line("e-mail address: \(preview.emailKind), which \(preview.persons) \(have)")
            Console.line("contacts in the list: \(Console.counts(preview.contacts))")
            Console.line(
                "merge fields filled: \(preview.mapped.isEmpty ? "none" : preview.mapped.joined(separator: ", "))")
            if !preview.missing.isEmpty {
                Console.line(
                    "merge fields that are missing: \(preview.missing.joined(separator: ", ")) (--make-fields)")
            }
            if !preview.required.isEmpty {
                Console.line("required, and nothing fills them: \(preview.required.joined(separator: ", "))")
            }
            Console.line("addresses that said no elsewhere and are barred: \(preview.noes)")
        }
    }

    struct Pull: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read what changed in the list, as soon as a worker can.")

        @Argument(help: "The instance's name or number.")
        var instance: String

        @Flag(help: "Read the whole list.")
        var full = false

        @Flag(help: "Read now, only say what would change, and take nothing in.")
        var dryRun = false

        @Flag(help: "With --dry-run: one JSON object instead of lines.")
        var json = false

        func run() async throws {
            try await LinkServices.with { _, services in
                guard dryRun else {
                    return try await services.instances.requestPull(instance: instance, full: full)
                }
                let preview = try await services.instances.previewPull(instance: instance, full: full)
                if json { return try Console.json(preview) }
                Console.line("contacts read: \(preview.read), of \(preview.isFull ? "the whole list" : "what changed")")
                Console.line("new: \(Console.counts(preview.new))")
                Console.line("with another status: \(Console.counts(preview.changed))")
                Console.line("noes found: \(Console.counts(preview.noes))")
                Console.line("members who would become inactive: \(preview.inactive)")
                if let missing = preview.missing { Console.line("known contacts that are not in the list: \(missing)") }
            }
        }
    }
}

extension Console {
    /// Writes a value as one line of JSON.
    fileprivate static func json(_ value: some Encodable) throws {
        line(try JSONText(encoding: value).text)
    }

    /// How many of what, the largest first.
    fileprivate static func counts(_ counts: [String: Int64]) -> String {
        let sorted = counts.filter { $0.value > 0 }.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return sorted.isEmpty ? "none" : sorted.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
    }
}
