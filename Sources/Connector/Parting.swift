import JobQueue
import Logging
import Mailchimp
import Postgres

/// What Mailchimp said of a list whose link is about to end.
public enum OldList: String, Sendable, Codable {
    /// It is there, and all that was said in it is known.
    case read
    /// Mailchimp does not know it any more.
    case gone
    /// It could not be read: what was said in it since the last pull is not known.
    case unread
}

extension Instances {
    /// Ends the link of an instance that is off, after its list was read once more.
    ///
    /// - Parameters:
    ///   - instance: whose link ends.
    ///   - acceptsUnread: whether it ends also when the list cannot be read.
    ///   - body: what ends it in the database, or makes ready for that.
    /// - Returns: what the body returned, and how the list was found.
    /// - Throws: ``ConnectorError`` when the instance is on, or the list cannot be read.
    func part<Value: Sendable>(
        from instance: Instance, acceptsUnread: Bool, _ body: @escaping @Sendable (OldList) async throws -> Value
    ) async throws -> (value: Value, list: OldList) {
        guard !instance.enabled else {
            throw ConnectorError(
                .wrongState,
                "instance '\(instance.name)' is on: turn it off first with `koppeling instance disable \(instance.name)`"
            )
        }
        try await accounts.deployment.requireConfirmed()
        return try await withPermits { permits in
            let old = ConnectorInstance(
                id: instance.id, pool: pool, accounts: accounts, permits: permits, webhooks: nil, logger: Self.silence)
            guard let link = try await old.link() else {
                throw ConnectorError(.notFound, "instance '\(instance.name)' is gone meanwhile")
            }
            let list = try await lastReading(old, link, acceptsUnread)
            let value = try await body(list)
            guard list == .read, try await old.link() == nil else { return (value, list) }
            // The job that is due looks again; what is found now holds before anybody can approve the next plan.
            try? await LastLook(pool: pool, accounts: accounts, permits: permits).look(formerInstance: instance.id)
            // A webhook that stays behind reports to an address that is nobody's.
            if !link.isDryRun { try? await old.removeWebhooks(link) }
            return (value, list)
        }
    }

    private func lastReading(
        _ old: ConnectorInstance, _ link: Link, _ acceptsUnread: Bool
    ) async throws -> OldList {
        let id = link.listID
        do {
            _ = try await old.call(link) { try await $0.list(id) }
            try await old.readBeforeParting(link)
            return .read
        } catch let error as MailchimpError {
            if error.code == .notFound { return .gone }
            guard acceptsUnread else {
                throw ConnectorError(
                    .wrongState,
                    "the list of now cannot be read, so a no that was said there lately is not known (\(error)): mend that, "
                        + "or add --unread to go on without")
            }
            return .unread
        }
    }

    /// Runs the body with permits for its calls, which are counted with those of the workers.
    func withPermits<Value: Sendable>(
        _ body: @escaping @Sendable (Permits) async throws -> Value
    ) async throws -> Value {
        let worker = Worker(
            pool: pool, options: Worker.Options(listens: false), logger: Self.silence)
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask {
                try? await worker.run()
                return nil
            }
            group.addTask { try await body(Permits(pool: self.pool, worker: worker)) }
            while let result = try await group.next() {
                guard let value = result else { continue }
                group.cancelAll()
                return value
            }
            throw CancellationError()
        }
    }

    /// What goes wrong here is thrown, and not logged too.
    static var silence: Logger { Logger(label: "koppeling") { _ in SwiftLogNoOpLogHandler() } }
}
