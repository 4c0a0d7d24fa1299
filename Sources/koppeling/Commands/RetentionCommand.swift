import ArgumentParser
import Postgres

/// `koppeling queue retention`: for how long finished jobs are kept.
struct RetentionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retention", abstract: "Show for how long finished jobs are kept, or set it.",
        discussion: "For example: koppeling queue retention done '14 days'")

    @Argument(help: "Set it for those that are done, rejected or cancelled.")
    var outcome: String?

    @Argument(help: "How long they are kept, such as '14 days'.")
    var keep: String?

    @OptionGroup var listing: ListingOptions

    func validate() throws {
        if outcome != nil, keep == nil { throw ValidationError("say how long, such as '14 days'") }
    }

    func run() async throws {
        try await Runtime.with { runtime in
            if let outcome, let keep {
                do throws(PostgresError) {
                    try await runtime.pool.query(
                        "select koppeling.set_retention(\(outcome)::text, \(keep)::text::interval)")
                } catch {
                    guard ["22007", "22008", "22015"].contains(error.sqlState) else { throw error }
                    throw Failure("\"\(keep)\" is no time: write it like '14 days'.", code: 2)
                }
            }
            try await Listing.show(
                """
                \(unsafe: Listing.open)
                select outcome, keep::text as keep from koppeling.job_retention order by outcome limit \(listing.limit)
                \(unsafe: Listing.close)
                """, from: runtime.pool, json: listing.json)
        }
    }
}
