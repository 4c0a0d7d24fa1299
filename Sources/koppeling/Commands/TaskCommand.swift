import ArgumentParser
import Connector
import Postgres

/// `koppeling task`: what only a person can settle.
struct TaskCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "task", abstract: "List what only a person can settle, and say that it is settled.",
        subcommands: [List.self, Done.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the open tasks, the newest first.")

        @Flag(help: "Those that are done too.")
        var all = false

        @Option(help: "Only this kind, such as resubscribed or mergeFieldMissing.", transform: taskKind)
        var kind: TaskKind?

        @Option(help: "Only those with a lower number: the next page.")
        var before: Int64 = .max

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select id, kind, state, instance, target_group, person, source, external_id, address, contact,
                        detail, created_at, done_at, done_by
                    from koppeling.tasks
                    where (\(all)::boolean or done_at is null) and (\(kind?.rawValue)::text is null
                        or kind = \(kind?.rawValue)::text)
                        and id < \(before)::bigint
                    order by id desc
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    private static func taskKind(_ name: String) throws -> TaskKind {
        guard let kind = TaskKind(rawValue: name) else {
            throw ValidationError("it is none of \(TaskKind.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return kind
    }

    struct Done: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say that tasks are settled. Prints how many of them were open.")

        @Argument(help: "The tasks' numbers.")
        var tasks: [Int64]

        func run() async throws {
            try await Runtime.with { runtime in
                let done: Int64 = try await runtime.pool.query(
                    "select koppeling.finish_tasks(\(tasks)::bigint[], \(runtime.actor)::text)"
                ).scalar()
                Console.line(String(done))
            }
        }
    }
}
