import FoundationEssentials
import IO
import Mailchimp
import Postgres

/// What a pull would change.
public struct PullPreview: Sendable, Codable, Equatable {
    /// Whether the whole list was read, and not only what changed.
    public var isFull: Bool
    /// How many contacts were read.
    public var read: Int64 = 0
    /// Contacts that are not known yet, by status.
    public var new: [String: Int64] = [:]
    /// Known contacts with another status than is known, by that status.
    public var changed: [String: Int64] = [:]
    /// Noes and bounces that would be recorded, by reason.
    public var noes: [String: Int64] = [:]
    /// Members who would become inactive.
    public var inactive: Int64 = 0
    /// Known contacts that a reading of the whole list did not meet; nil when only changes were read.
    public var missing: Int64?

    private enum CodingKeys: String, CodingKey {
        case isFull = "is_full"
        case read, new, changed, noes, inactive, missing
    }
}

extension Instances {
    /// Reads what a pull would read, and says what it would change; nothing is written, and the cursor stays.
    ///
    /// - Parameters:
    ///   - name: the instance's name or number; it may be off.
    ///   - full: whether the whole list is read.
    /// - Returns: what would change.
    /// - Throws: `MailchimpError` when a page cannot be read.
    public func previewPull(instance name: String, full: Bool) async throws -> PullPreview {
        let instance = try await find(name)
        return try await withPermits { permits in
            let reader = ConnectorInstance(
                id: instance.id, pool: pool, accounts: accounts, permits: permits, webhooks: nil, logger: Self.silence)
            return try await reader.previewPull(full: full)
        }
    }
}

extension ConnectorInstance {
    /// What one page would change.
    private struct PagePreview: Decodable {
        var read: Int64
        var known: Int64
        var new: [String: Int64]
        var changed: [String: Int64]
        var noes: [String: Int64]
        var inactive: Int64
    }

    /// Takes each page in by itself, and takes it back.
    func previewPull(full: Bool) async throws -> PullPreview {
        guard let link = try await link() else {
            throw ConnectorError(.notFound, "the instance is gone meanwhile")
        }
        let isFull = full || link.sweepIsDue
        let sum = Locked((preview: PullPreview(isFull: isFull), known: Int64(0)))
        for status in [nil, MemberStatus.archived] {
            _ = try await readPages(status: status, since: isFull ? nil : link.cursor, link) { page in
                let found = try await self.preview(page)
                sum.withLock { sum in
                    sum.known += found.known
                    sum.preview.read += found.read
                    sum.preview.inactive += found.inactive
                    sum.preview.new.merge(found.new, uniquingKeysWith: +)
                    sum.preview.changed.merge(found.changed, uniquingKeysWith: +)
                    sum.preview.noes.merge(found.noes, uniquingKeysWith: +)
                }
                return nil
            }
        }
        var (preview, met) = sum.withLock { $0 }
        if isFull {
            let known: Int64 = try await pool.query(
                """
                select count(*) from koppeling.audience_member
                where instance_id = \(self.id)::bigint and contact_id is not null and status <> 'absent'
                """
            ).scalar()
            preview.missing = max(0, known - met)
        }
        return preview
    }

    private func preview(_ page: ReadPage) async throws -> PagePreview {
        struct TakenBack: Error { var preview: PagePreview }
        do {
            try await pool.transaction { connection in
                let preview: JSONText = try await connection.query(
                    """
                    select koppeling.preview_page(\(self.id)::bigint, \(JSONText(utf8: page.raw.bytes))::jsonb,
                        \(page.readAt)::timestamptz, \(page.again)::text[])
                    """
                ).scalar()
                throw TakenBack(preview: try preview.decode())
            }
        } catch let taken as TakenBack {
            return taken.preview
        }
        // The transaction above never ends otherwise.
        throw CancellationError()
    }
}
