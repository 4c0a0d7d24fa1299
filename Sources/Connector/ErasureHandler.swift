public import JobQueue
public import Postgres

/// Erases the persons that other systems ask for, and holds whoever comes in against the ledger of those who were.
public struct ErasureHandler: JobHandler {
    private struct Arguments: Decodable {
        var person: Int64
        var actor: String
    }

    /// A group that was not there when earlier addresses were held against the ledger.
    private struct GroupArguments: Decodable {
        var group: Int64
    }

    private let erasures: Erasures

    /// For the erasures of a database.
    public init(pool: Pool, vault: Vault) {
        erasures = Erasures(pool: pool, vault: vault)
    }

    /// `person.erase` and `erasure.check`.
    public var kinds: Set<String> { ["person.erase", "erasure.check"] }

    /// Does each; args that name no person are rejected.
    public func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        var outcomes: [Int64: Outcome] = [:]
        for job in jobs {
            if job.kind == "erasure.check", let group = try? job.args.decode(GroupArguments.self).group {
                try await erasures.check(group: group)
            } else if job.kind == "erasure.check" {
                while try await erasures.checkNext() { try Task.checkCancellation() }
            } else {
                guard let arguments = try? job.args.decode(Arguments.self) else {
                    outcomes[job.id] = .rejected(reason: #"args must be {"person": number, "actor": who}"#)
                    continue
                }
                try await erasures.erase(person: arguments.person, actor: arguments.actor)
            }
            outcomes[job.id] = .done(nil)
        }
        return outcomes
    }
}
