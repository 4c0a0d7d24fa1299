import IO
import JobQueue
import Logging
import Mailchimp
import Postgres

/// What an action's job says: which member; what is to be done is decided from what is wanted when it runs.
struct ActionArguments: Codable, Sendable {
    var action: String
    var member: Int64
}

/// Hands the actions of an instance's queue to its actor.
struct ActionHandler: JobHandler {
    let instance: ConnectorInstance
    /// Erasing is a kind of its own: an instance that is turned off does nothing else.
    var kinds: Set<String> = ["action", "erase"]

    func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        try await instance.perform(jobs, context)
    }
}

/// An action under way.
struct Action: Sendable {
    let job: Job
    let member: Int64
    let name: String

    /// Whether a pause of the instance holds it back: only what could add to the list, change it or mail somebody.
    var isHeldByPause: Bool { ["create", "update", "invite"].contains(name) }
}

extension ConnectorInstance {
    /// How many single calls of one batch are under way at once; the permits decide how many of them really run.
    static var width: Int { 10 }

    /// Carries out a batch of actions: creates in bulk what is known to be absent, everything else one by one.
    ///
    /// - Returns: an outcome for each job that was not completed together with its record.
    func perform(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        guard let link = try await link(), link.enabled || jobs.allSatisfy({ $0.kind == "erase" }) else {
            // It was turned off just now: in a moment nobody here takes its jobs any more.
            return jobs.outcomes(.snooze(.seconds(5)))
        }
        note(isPaused: link.pausedReason != nil)
        // Whoever ends the dry run ends this wait as well.
        if link.isDryRun { return jobs.outcomes(.snooze(.seconds(300))) }
        if !link.authenticated, try await !credentialWorks(link) { return jobs.outcomes(.snooze(.seconds(60))) }
        var outcomes: [Int64: Outcome] = [:]
        var actions: [Action] = []
        for job in jobs {
            guard let arguments = try? job.args.decode(ActionArguments.self) else {
                outcomes[job.id] = .rejected(reason: "the job names no audience member")
                continue
            }
            let action = Action(job: job, member: arguments.member, name: arguments.action)
            actions.append(action)
        }
        if let reason = link.pausedReason {
            let doubtful = try await doubtful(actions.filter(\.isHeldByPause).map(\.member))
            for action in actions where action.isHeldByPause && !doubtful.contains(action.member) {
                logger.debug("held by the pause", metadata: ["job": "\(action.job.id)", "reason": "\(reason)"])
                outcomes[action.job.id] = .snooze(.seconds(60))
            }
            actions.removeAll { outcomes[$0.job.id] != nil }
        }
        // No call that can subscribe goes out on old knowledge.
        if !link.pulledRecently, actions.contains(where: \.isHeldByPause) { try await pull(full: false) }

        let creates = link.pausedReason == nil ? actions.filter { $0.name == "create" } : []
        if creates.count > 1 {
            let created = try await createInBulk(creates, link, context)
            try await count(created.count, rejected: false)
            actions.removeAll { created.contains($0.job.id) }
        }
        return outcomes.merging(try await performSingly(actions, link, context)) { $1 }
    }

    /// Those of them whom a call of ours may have subscribed over a no: no pause holds back finding out.
    private func doubtful(_ members: [Int64]) async throws -> Set<Int64> {
        let rows = try await pool.query(
            """
            select id from koppeling.audience_member
            where id = any (\(members)::bigint[]) and intent = 'creating'
            """)
        return Set(try rows.map { try $0.decode("id", as: Int64.self) })
    }

    private func performSingly(
        _ actions: [Action], _ link: Link, _ context: JobContext
    ) async throws -> [Int64: Outcome] {
        await withTaskGroup(of: (Int64, Outcome?).self) { group in
            var outcomes: [Int64: Outcome] = [:]
            var waiting = actions.makeIterator()
            for _ in 0..<Self.width {
                guard let action = waiting.next() else { break }
                group.addTask { (action.job.id, await self.attempt(action, link, context)) }
            }
            while let (job, outcome) = await group.next() {
                outcomes[job] = outcome
                // A stopping worker gives back what it has not begun: no outcome, no attempt.
                guard !Task.isCancelled, let action = waiting.next() else { continue }
                group.addTask { (action.job.id, await self.attempt(action, link, context)) }
            }
            return outcomes
        }
    }

    /// One action, with whatever goes wrong turned into what becomes of its job.
    ///
    /// - Returns: nil when the job was completed together with the record of what was done.
    private func attempt(_ action: Action, _ link: Link, _ context: JobContext) async -> Outcome? {
        do {
            if isPaused, action.isHeldByPause, link.pausedReason == nil { return .snooze(.seconds(60)) }
            let outcome: Outcome?
            do {
                outcome = try await execute(action, link, context)
            } catch let error as MailchimpError {
                outcome = try await resolve(error, of: action, link)
            }
            // Nobody has to ask again for somebody to be erased.
            if case .rejected = outcome, action.job.kind == "erase" { return .snooze(.seconds(3600)) }
            switch outcome {
            case nil, .done: try await count(rejected: false)
            case .rejected: try await count(rejected: true)
            // Its last attempt: the queue rejects it.
            case .retry where action.job.attempt >= action.job.maxAttempts: try await count(rejected: true)
            case .retry, .snooze, .cancelled: break
            }
            return outcome
        } catch is CancellationError {
            return .snooze(.zero)
        } catch {
            logger.warning("an action failed", metadata: ["job": "\(action.job.id)", "error": "\(error)"])
            return .retry(after: nil, error: "\(error)")
        }
    }

    private func credentialWorks(_ link: Link) async throws -> Bool {
        do {
            try await call(link) { client in try await client.ping() }
        } catch let error as MailchimpError {
            logger.notice("still waiting for a valid credential", metadata: ["code": "\(error.code)"])
            return false
        }
        try await setAuthenticated(true, link)
        return true
    }
}

extension [Job] {
    /// The same outcome for all.
    func outcomes(_ outcome: Outcome) -> [Int64: Outcome] {
        Dictionary(uniqueKeysWithValues: map { ($0.id, outcome) })
    }
}
