import Connector
import FoundationEssentials
import HTTPClient
import Mailchimp
import MailchimpSandbox
import Postgres
import ServiceCenter
import TestSupport
import Testing

/// A service center that is registered as an app at a sandbox, and browsers that connect accounts with it.
struct ConnectBench: Sendable {
    /// The address of a proxy, which is known before anything listens.
    static let publicURL = "http://koppeling.test/crm"
    static let clientID = "635959587059"
    static let clientSecret = "app-secret-5ecre7"

    let sandbox: SandboxAtWork
    let door: Door
    let tickets: AccountTickets
    let accounts: Accounts
    let app: OAuthApp
    let pool = TestDatabase.current.pool

    /// Runs the body.
    static func run(_ body: (ConnectBench) async throws -> Void) async throws {
        try await SandboxAtWork.run { sandbox in
            let pool = TestDatabase.current.pool
            let log = CapturedLog()
            let app = OAuthApp(
                clientID: clientID, clientSecret: clientSecret,
                redirectURI: ServiceCenter.redirectURI(publicURL: publicURL),
                http: sandbox.http, rootOverride: sandbox.root + "/")
            let accounts = Accounts(
                pool: pool, vault: sandbox.vault, http: sandbox.http, rootOverride: sandbox.root)
            let tickets = AccountTickets(pool: pool, accounts: accounts, app: app, logger: log.logger)
            try await sandbox.control(
                "POST", "apps",
                #"{"client_id": "\#(clientID)", "client_secret": "\#(clientSecret)", "redirect_uri": "\#(app.redirectURI)"}"#
            )
            try await withServiceCenter(vault: sandbox.vault, tickets: tickets, publicURL: publicURL, log: log) {
                door in
                try await body(
                    ConnectBench(sandbox: sandbox, door: door, tickets: tickets, accounts: accounts, app: app))
            }
        }
    }

    /// A new browser, which comes through a proxy that takes away what stands before the path.
    func browser(language: String? = "en") -> Browser {
        let base = door.base
        return Browser(door.http, language: language) { address in
            address.hasPrefix(Self.publicURL) ? base + address.dropFirst(Self.publicURL.count) : address
        }
    }

    /// A new ticket's address.
    func ticket(name: String? = nil, renewing account: Accounts.Account? = nil) async throws -> (
        id: Int64, page: String
    ) {
        let (id, ticket) = try await tickets.make(name: name, renewing: account)
        return (id, "\(Self.publicURL)/accounts/connect/\(ticket)")
    }

    /// Opens the ticket's page and presses its button; returns Mailchimp's address.
    func begin(_ page: String, _ browser: Browser) async throws -> String {
        let opened = try await browser.get(page)
        try #require(opened.status == 200, "\(opened.text)")
        let pressed = try await browser.post(page)
        try #require(pressed.status == 303, "\(pressed.text)")
        return pressed.location
    }

    /// Comes back from Mailchimp and looks at the page that the browser ends at.
    func comeBack(_ callback: String, _ browser: Browser) async throws -> HTTPResponse {
        let redirect = try await browser.get(callback)
        try #require(redirect.status == 303, "\(redirect.text)")
        try #require(redirect.location.hasPrefix("/crm/accounts/connect/"), "\(redirect.location)")
        return try await browser.get("http://koppeling.test" + redirect.location)
    }

    /// The whole way with one browser.
    func connect(_ page: String, _ browser: Browser, user: Int = 0) async throws -> HTTPResponse {
        try await comeBack(try await answer(try await begin(page, browser), user: user), browser)
    }

    /// The message with which the waiting command ends.
    func failure(of ticket: Int64, at location: SourceLocation = #_sourceLocation) async -> String {
        let error = await #expect(throws: ConnectorError.self, sourceLocation: location) {
            _ = try await tickets.wait(for: ticket)
        }
        return error?.message ?? ""
    }

    /// The first user's answer on Mailchimp's page; returns where the browser is sent then.
    func answer(_ authorize: String, _ answer: String = "allow", user index: Int = 0) async throws -> String {
        let visitor = Browser(door.http)
        let page = try await visitor.get(authorize)
        try #require(page.status == 200, "\(page.text)")
        let forms = page.text.split(separator: "</form>")
        let fields = forms[index].matches(of: #/type="hidden" name="([^"]*)" value="([^"]*)"/#).map {
            (String($0.1), String($0.2))
        }
        let back = try await visitor.post(sandbox.root + "/oauth2/authorize", fields + [("answer", answer)])
        try #require(back.status == 302, "\(back.text)")
        return back.location
    }
}
