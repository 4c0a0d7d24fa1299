public import Testing

/// Gives each case of a test a database of its own, found in `TestDatabase.current`.
public struct DatabaseTrait: TestTrait, SuiteTrait, TestScoping {
    let isMigrated: Bool

    /// A suite's tests each get their own.
    public var isRecursive: Bool { true }

    /// Runs the test's function with the database bound.
    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        guard testCase != nil else { return try await function() }
        try await withDatabase(migrated: isMigrated) { database in
            try await TestDatabase.$bound.withValue(database) { try await function() }
        }
    }
}

extension Trait where Self == DatabaseTrait {
    /// A database with the schema.
    public static var database: Self { DatabaseTrait(isMigrated: true) }
    /// A database without anything.
    public static var emptyDatabase: Self { DatabaseTrait(isMigrated: false) }
}
