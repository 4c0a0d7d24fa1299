public import Logging

/// The jobs that a task works on.
struct RunningJobs: Sendable {
    let jobs: [Job]

    @TaskLocal static var current: RunningJobs?

    /// What tells a line of the log whose it is: never what a job is about.
    var metadata: Logger.Metadata {
        guard let first = jobs.first else { return [:] }
        let kinds = Set(jobs.map(\.kind)).sorted().joined(separator: ",")
        var metadata: Logger.Metadata = ["queue": "\(first.queue)", "kind": "\(kinds)"]
        if jobs.count == 1 {
            metadata["job"] = "\(first.id)"
            metadata["attempt"] = "\(first.attempt)"
        } else {
            let ids = jobs.map(\.id)
            metadata["jobs"] = "\(ids.min() ?? 0)-\(ids.max() ?? 0)"
            metadata["count"] = "\(ids.count)"
        }
        return metadata
    }
}

extension Logger.MetadataProvider {
    /// Names the job that a task works on, on every line that it logs through whatever logger.
    ///
    /// A line has `queue` and `kind`, and of a single job `job` and `attempt`. While a handler has several jobs at once it
    /// has `jobs`, the smallest and the largest number, and `count`, unless the handler says which one it works on with
    /// ``JobContext/working(on:_:)``. Give it to `LoggingSystem.bootstrap`.
    public static let jobs = Logger.MetadataProvider { RunningJobs.current?.metadata ?? [:] }
}
