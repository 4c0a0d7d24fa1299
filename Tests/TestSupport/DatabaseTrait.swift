public import Testing

/// Gives each case of a test a database of its own, found in `TestDatabase.current`, and five minutes with it.
///
/// The time counts from when the case has its database: a `timeLimit` would count its wait for one too, and that is as
/// long as all the others take.
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
            try await TestDatabase.$bound.withValue(database) { try await within(.seconds(300), function) }
        }
    }

    private func within(_ time: Duration, _ function: @concurrent @Sendable () async throws -> Void) async throws {
        try await withoutActuallyEscaping(function) { function in
            try await withThrowingTaskGroup { group in
                group.addTask { try await function() }
                group.addTask {
                    try await Task.sleep(for: time)
                    Issue.record("the test was not done within \(time) of having its database")
                }
                try await group.next()
                group.cancelAll()
            }
        }
    }
}

extension Trait where Self == DatabaseTrait {
    /// A database with the schema.
    public static var database: Self { DatabaseTrait(isMigrated: true) }
    /// A database without anything.
    public static var emptyDatabase: Self { DatabaseTrait(isMigrated: false) }
}
