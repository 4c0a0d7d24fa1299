import EmbeddedPostgres
import IO
public import Postgres

/// A database that one test has to itself.
public struct TestDatabase: Sendable {
    /// How to reach it.
    public let settings: ConnectionSettings
    /// A few connections to it.
    public let pool: Pool

    @TaskLocal static var bound: TestDatabase?

    /// The database of the running test, which has the trait `.database` or `.emptyDatabase`.
    public static var current: TestDatabase {
        guard let bound else { preconditionFailure("give the test the trait .database or .emptyDatabase") }
        return bound
    }
}

/// Makes a database, runs the body with it, and drops it.
///
/// A migrated one has the schema of the `sql` folder.
public func withDatabase<Value: Sendable>(
    migrated: Bool = true, _ body: (TestDatabase) async throws -> Value
) async throws -> Value {
    try await places.withPlace {
        let cluster = try await TestCluster.shared.ready()
        let template = migrated ? try await TestCluster.shared.migratedTemplate() : "template0"
        let name = "test_\(numbers.withLock { number in number += 1; return number })"
        try await cluster.admin.query(
            "create database \(identifier: name) template \(identifier: template) strategy file_copy")
        let settings = cluster.settings.with(database: name)
        let database = TestDatabase(settings: settings, pool: Pool(settings, maximum: 4))
        let result = await Result { try await body(database) }
        // Not after the pool's close: a test may have left connections of its own, or a lease in a cancelled task.
        _ = try? await cluster.admin.query("drop database \(identifier: name) with (force)")
        return try result.get()
    }
}

private let numbers = Locked(0)

/// Few enough databases at a time that their connections fit the server and their work the machine.
private let places = Places(6)

extension Result where Failure == any Error {
    /// What the body returns or throws.
    fileprivate init(_ body: () async throws -> Success) async {
        do {
            self = .success(try await body())
        } catch {
            self = .failure(error)
        }
    }
}
