import FoundationEssentials
import Mailchimp
import Postgres

/// A list page by page, the last changed first, while it changes.
///
/// Each page begins in the second that the one before it ended in: by time, and not by a count of contacts, so that
/// nobody is passed over when others change or go meanwhile. Who changes while the list is read is not met again, and
/// is left to the next pull, whose cursor lies before. So reading ends, however busy the list is.
extension ConnectorInstance {
    /// Mailchimp's largest page.
    private static var pageSize: Int { 1000 }
    /// How many contacts two pages of one second have in common at least, if nobody goes.
    private static var overlap: Int { 50 }

    /// A page, and since when it may be out of date.
    struct ReadPage: Sendable {
        var readAt: Date
        var raw: RawPage
        fileprivate var place = Place()
        /// The contacts that the page before it had too.
        var again: [String] = []
    }

    /// Where a page begins.
    fileprivate struct Place: Sendable {
        /// In Mailchimp's time: only who changed before.
        var before: Date?
        var offset = 0
    }

    /// Reads page after page, each while the one before is taken in; returns the latest change seen, in Mailchimp's own
    /// time.
    ///
    /// - Throws: `MailchimpError` when a page cannot be read.
    func readPages(
        status: MemberStatus?, since: Date?, _ link: Link, _ take: @Sendable (ReadPage) async throws -> Date?
    ) async throws -> Date? {
        var latest: Date?
        let filter = MemberFilter(
            status: status, sinceLastChanged: since, count: Self.pageSize, sort: .lastChanged, newestFirst: true,
            fields: MemberFilter.defaultFields + ["timestamp_signup", "tags_count"])
        var next: ReadPage? = try await readPage(filter, at: Place(), link)
        while let page = next {
            async let stored = take(page)
            async let following = readPage(filter, after: page, link)
            latest = [latest, try await stored].compactMap { $0 }.max()
            next = try await following
        }
        return latest
    }

    private func readPage(_ filter: MemberFilter, after page: ReadPage, _ link: Link) async throws -> ReadPage? {
        guard let place = Self.place(after: page) else { return nil }
        var next = try await readPage(filter, at: place, link)
        let met = Set(page.raw.contacts.compactMap(\.id))
        next.again = next.raw.contacts.compactMap(\.id).filter(met.contains)
        // Within one second there is only the count to go by. Nobody changes into a second that is over, so two pages
        // that have somebody in common leave out nobody between them.
        guard place.offset == 0 || !next.again.isEmpty else { throw RestlessList() }
        return next
    }

    /// Where the next page begins; nil when this one was the last.
    private static func place(after page: ReadPage) -> Place? {
        guard page.raw.count >= pageSize else { return nil }
        guard let end = page.raw.contacts.last?.lastChanged.map({ $0 + 1 }), end < page.place.before ?? .distantFuture
        else { return Place(before: page.place.before, offset: page.place.offset + pageSize - overlap) }
        return Place(before: end)
    }

    private func readPage(_ filter: MemberFilter, at place: Place, _ link: Link) async throws -> ReadPage {
        let readAt = try await now()
        var filter = filter
        filter.beforeLastChanged = place.before
        filter.offset = place.offset
        let page = filter
        let list = link.listID
        return ReadPage(readAt: readAt, raw: try await call(link) { try await $0.rawMembers(list, page) }, place: place)
    }
}

/// More contacts of one second changed or went between two pages than the pages have in common: the pull is made again.
struct RestlessList: Error, CustomStringConvertible {
    var description: String { "the list changes faster than it can be read: it is read again later" }
}
