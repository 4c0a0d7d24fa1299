import ArgumentParser

/// What is said of a job beside its kind and its time: of one that is enqueued, and of those of a schedule.
struct JobOptions: ParsableArguments {
    @Option(help: "What the job is about, as a JSON object or array.")
    var args: String?

    @Option(help: "The queue; default without.")
    var queue: String?

    @Option(help: "Of the jobs with this key only one waits.")
    var key: String?

    @Option(help: "What becomes of the one that waits with the key: keep, replace or append; keep without.")
    var keyMode: String?

    @Option(help: "Of the jobs with this key only one runs, in the order of their ids.")
    var orderKey: String?

    @Option(help: "What a limit may be set for; see koppeling limit.")
    var limitKey: String?

    @Option(parsing: .unconditional, help: "Lower numbers go first; from -10000 to 10000.")
    var priority: Int?

    @Option(help: "After so many failed attempts it is rejected; 20 without.")
    var maxAttempts: Int?

    /// Whether nothing is said.
    var isEmpty: Bool {
        let options: [Any?] = [args, queue, key, keyMode, orderKey, limitKey, priority, maxAttempts]
        return options.allSatisfy { $0 == nil }
    }
}
