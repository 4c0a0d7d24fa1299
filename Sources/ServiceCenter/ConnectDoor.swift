import Connector
import FoundationEssentials
import HTTPTypes
import Hummingbird

/// Where a browser connects an account by OAuth2: `/accounts/connect/{ticket}`, and `/oauth/mailchimp/callback` for its way
/// back from Mailchimp.
///
/// Each ticket has a cookie of its own, with a secret that is made here; it is sent to these two places only. Codes and
/// states do not stay in the address bar: the way back always ends in a redirection.
struct ConnectDoor: Sendable {
    /// The path of the way back; Mailchimp must know the whole address.
    static let callbackPath = "/oauth/mailchimp/callback"
    private static let path = "/accounts/connect"

    private let tickets: AccountTickets?
    /// What stands before every path in the address by which browsers come.
    private let prefix: String
    private let isSecure: Bool
    private let isTraining: Bool

    init(tickets: AccountTickets?, publicURL: String?, isTraining: Bool) {
        self.tickets = tickets
        self.isTraining = isTraining
        let parts = (publicURL ?? "").split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        let path = parts.count > 3 ? String(parts[3]) : ""
        prefix = path.isEmpty ? "" : "/" + path
        isSecure = publicURL?.hasPrefix("https://") ?? false
    }

    func add(to router: Router<BasicRequestContext>) {
        router.get("\(Self.path)/:ticket") { request, context in try await open(request, context) }
        router.post("\(Self.path)/:ticket") { request, context in try await begin(request, context) }
        router.get("\(Self.callbackPath)") { request, _ in try await finish(request) }
        router.get("\(Self.path)/result/:id") { request, context in try await result(request, context) }
        router.get("\(Self.path)/problem/:reason") { request, context in
            let reason = context.parameters.get("reason").flatMap(ConnectFailure.Reason.init(rawValue:))
            return page(of: ConnectFailure(reason ?? .unknownTicket), request)
        }
    }

    private func open(_ request: Request, _ context: BasicRequestContext) async throws -> Response {
        let cookies = request.cookies
        let ticket = context.parameters.get("ticket") ?? ""
        guard let tickets else { return page(of: ConnectFailure(.notConfigured), request) }
        switch try await tickets.open(ticket, shown: { cookies[Self.cookie($0)]?.value }) {
        case .failure(let failure): return page(of: failure, request)
        case .success(let opened):
            let texts = texts(request)
            var page = Page(
                title: texts.title, language: texts.language, isTraining: isTraining,
                body: texts.ask(renewing: opened.renewedAccount))
            page.formTarget = tickets.authorizeOrigin
            var response = page.response
            if let secret = opened.newBrowser {
                for path in [Self.path, Self.callbackPath] {
                    response.setCookie(
                        Cookie(
                            name: Self.cookie(opened.id), value: secret, maxAge: 1_200, path: prefix + path,
                            secure: isSecure, httpOnly: true, sameSite: .lax))
                }
            }
            return response
        }
    }

    private func begin(_ request: Request, _ context: BasicRequestContext) async throws -> Response {
        let cookies = request.cookies
        let ticket = context.parameters.get("ticket") ?? ""
        guard let tickets else { return page(of: ConnectFailure(.notConfigured), request) }
        switch try await tickets.begin(ticket, shown: { cookies[Self.cookie($0)]?.value }) {
        case .failure(let failure): return page(of: failure, request)
        case .success(let address): return Page.redirect(to: address)
        }
    }

    private func finish(_ request: Request) async throws -> Response {
        guard let tickets else { return redirect(to: "problem/\(ConnectFailure.Reason.notConfigured.rawValue)") }
        let cookies = request.cookies
        let query = try? FormValue(urlEncoded: (request.uri.query ?? "").utf8)
        func text(_ name: String) -> String? {
            if case .text(let text) = query?[name] { text } else { nil }
        }
        let answer = AccountTickets.Answer(state: text("state") ?? "", code: text("code"), error: text("error"))
        switch try await tickets.finish(answer, shown: { cookies[Self.cookie($0)]?.value }) {
        case .success(let id): return redirect(to: "result/\(id)")
        case .failure(let failure): return redirect(to: "problem/\(failure.reason.rawValue)")
        }
    }

    private func result(_ request: Request, _ context: BasicRequestContext) async throws -> Response {
        guard let tickets, let id = context.parameters.get("id", as: Int64.self) else {
            return page(of: ConnectFailure(.unknownTicket), request)
        }
        switch try await tickets.outcome(id, shown: request.cookies[Self.cookie(id)]?.value) {
        case .failure(let failure): return page(of: failure, request)
        case .success(let account):
            let texts = texts(request)
            return Page(
                title: texts.connected, language: texts.language, isTraining: isTraining,
                body: texts.done(account.name, account.dataCentre)
            ).response
        }
    }

    private static func cookie(_ ticket: Int64) -> String { "koppeling_connect_\(ticket)" }

    private func redirect(to end: String) -> Response { Page.redirect(to: "\(prefix)\(Self.path)/\(end)") }

    private func texts(_ request: Request) -> ConnectTexts {
        ConnectTexts(language: PageLanguage(accepting: request.headers[.acceptLanguage]))
    }

    private func page(of failure: ConnectFailure, _ request: Request) -> Response {
        let texts = texts(request)
        return Page(
            title: texts.failed, language: texts.language, isTraining: isTraining, body: texts.sorry(failure),
            status: Self.status(of: failure.reason)
        ).response
    }

    private static func status(of reason: ConnectFailure.Reason) -> HTTPResponse.Status {
        switch reason {
        case .unknownTicket: .notFound
        case .expired, .used: .gone
        case .wrongBrowser, .unknownState, .denied: .forbidden
        case .alreadyConnected, .otherLogin, .nameTaken: .conflict
        case .noAnswer, .badToken: .badGateway
        case .notConfigured, .appRefused: .serviceUnavailable
        case .noCode, .codeRefused, .keyRefused: .badRequest
        }
    }
}
