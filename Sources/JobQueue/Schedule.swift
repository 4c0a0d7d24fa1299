public import FoundationEssentials
import Postgres

/// A job that is enqueued again and again, at the moments of a cron expression.
public struct Schedule: Sendable, Hashable {
    /// What happens to ticks that no worker was there to see in time.
    public enum Missed: String, Sendable, Hashable, Codable, CaseIterable {
        /// They are forgotten.
        case skip
        /// One job makes up for all of them.
        case once
    }

    /// What it is called: putting another of this name changes it.
    public var name: String
    /// Minute, hour, day of month, month and day of week, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    public var cron: String
    /// Whose clocks the cron expression is about, such as `Europe/Amsterdam`.
    public var timeZone: String
    /// What is enqueued; its `runAt` is of no account, because the tick takes its place.
    public var job: NewJob
    /// What happens to ticks that are found more than a minute late.
    public var missed: Missed

    /// A schedule, by the clocks of UTC unless another time zone is given.
    public init(name: String, cron: String, timeZone: String = "UTC", job: NewJob, missed: Missed = .once) {
        self.name = name
        self.cron = cron
        self.timeZone = timeZone
        self.job = job
        self.missed = missed
    }
}

/// A schedule as the database has it, and how it stands.
public struct ScheduleStatus: Sendable, Hashable {
    /// The schedule.
    public var schedule: Schedule
    /// Its next tick; nil while it is paused.
    public var nextAt: Date?
    /// The tick it last made a job for, or when it was last run by hand.
    public var lastAt: Date?
    /// The number of that job, or of the waiting one that absorbed it.
    public var lastJob: Int64?
    /// Why its last tick made no job.
    public var error: String?

    /// Whether it makes no jobs for now.
    public var isPaused: Bool { nextAt == nil }

    init(_ row: Row) throws(PostgresError) {
        schedule = try Schedule(row)
        nextAt = try row.decode("next_at")
        lastAt = try row.decode("last_at")
        lastJob = try row.decode("last_job_id")
        error = try row.decode("error")
    }
}

extension Schedule {
    fileprivate init(_ row: Row) throws(PostgresError) {
        let job = NewJob(
            kind: try row.decode("kind"), args: try row.decode("args"), queue: try row.decode("queue"),
            key: try row.decode("key"), keyMode: NewJob.KeyMode(rawValue: try row.decode("key_mode")) ?? .keep,
            orderKey: try row.decode("order_key"), limitKey: try row.decode("limit_key"),
            priority: Int(try row.decode("priority", as: Int32.self)),
            maxAttempts: Int(try row.decode("max_attempts", as: Int32.self)))
        self.init(
            name: try row.decode("name"), cron: try row.decode("cron"), timeZone: try row.decode("time_zone"),
            job: job, missed: Missed(rawValue: try row.decode("missed")) ?? .once)
    }
}
