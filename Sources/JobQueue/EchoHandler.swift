/// Carries out `echo`: does nothing, and answers with what it was given, to try the queue out.
public struct EchoHandler: JobHandler {
    /// The handler.
    public init() {}

    /// The kind `echo`.
    public var kinds: Set<String> { ["echo"] }

    /// Answers with the args.
    public func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        Dictionary(uniqueKeysWithValues: jobs.map { ($0.id, .done($0.args)) })
    }
}
