import Foundation
import HTTPClient
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@Suite("koppeling account", .database)
struct AccountCommandTests {
    private static let key = "00000000000000000000000000000001-us1"
    private static let old = Data(repeating: 7, count: 32).base64EncodedString()
    private static let new = Data(repeating: 8, count: 32).base64EncodedString()
    private static let publicURL = "http://koppeling.test"

    /// Runs the body with a sandbox, and the settings with which the program finds it.
    private func run(_ body: (_ root: String, _ settings: [String: String]) async throws -> Void) async throws {
        let server = MailchimpSandbox(configuration: SandboxConfiguration())
        let root = "http://127.0.0.1:\(try await server.start())"
        let result: Result<Void, any Error>
        do {
            let settings = [
                "KOPPELING_MAILCHIMP_URL": root, "KOPPELING_SECRET_KEY": Self.old, "LOG_LEVEL": "info",
                "KOPPELING_PUBLIC_URL": Self.publicURL, "MAILCHIMP_CLIENT_ID": "4711",
                "MAILCHIMP_CLIENT_SECRET": "5ecre75ecre7",
                "DATABASE_URL": try TestDatabase.current.settings.connectionString(),
            ]
            result = .success(try await body(root, settings))
        } catch {
            result = .failure(error)
        }
        await server.stop()
        try result.get()
    }

    /// Goes through the sandbox's control door.
    private func post(_ url: String, _ json: String) async throws {
        let http = HTTPClient(allowPlaintext: true)
        defer { http.shutdown() }
        let response = try await http.send(
            HTTPRequest(
                method: "POST", url: url, headers: [("Content-Type", "application/json")], body: Array(json.utf8)))
        try #require(response.status == 200)
    }

    @Test func `by a key: connected once, renewed, seen with its budget, sealed anew, forgotten`() async throws {
        try await run { root, settings in
            let connect = ["account", "connect", "--name", "Instituut"]
            let first = try await koppeling(connect, settings, input: Self.key + "\n")
            #expect(first.code == 0 && first.output == "1  Instituut  us1\n", "\(first.errors)")
            let twice = try await koppeling(connect, settings, input: Self.key)
            #expect(twice.code == 1 && twice.errors.contains("koppeling account renew"))
            let renewed = try await koppeling(["account", "renew", "Instituut"], settings, input: Self.key)
            #expect(renewed.code == 0)

            let budget = try await koppeling(["account", "budget", "Instituut", "3"], settings)
            #expect(budget.code == 0)
            let tooMuch = try await koppeling(["account", "budget", "Instituut", "11"], settings)
            #expect(tooMuch.code == 1 && tooMuch.errors.contains("1 to 10"))
            let shown = try await koppeling(["account", "show", "Instituut", "--json"], settings)
            for part in [#""budget":3"#, #""allowed_now":3"#, #""credential":"key""#, #""authenticated":true"#] {
                #expect(shown.output.contains(part), "\(shown.output)")
            }
            let lines = try await koppeling(["account", "show", "1"], settings)
            #expect(lines.lines.contains { $0.split(separator: " ") == ["budget", "3"] })
            let listed = try await koppeling(["account", "list"], settings)
            #expect(listed.lines.count == 2 && !listed.output.contains("0000000000"))

            let both = settings.merging([
                "KOPPELING_SECRET_KEY": Self.new, "KOPPELING_SECRET_KEY_PREVIOUS": Self.old,
            ]) { $1 }
            let before = try await koppeling(["doctor"], both)
            #expect(before.output.contains("1 stored secrets are sealed with an old key: run koppeling account rekey"))
            let rekeyed = try await koppeling(["account", "rekey"], both)
            #expect(rekeyed.code == 0 && rekeyed.output == "1 sealed anew; 1 are sealed with the present key.\n")
            let former = try await koppeling(["doctor"], settings)
            #expect(former.code == 1 && former.output.contains("the credential of account 'Instituut'"))
            let alone = settings.merging(["KOPPELING_SECRET_KEY": Self.new]) { $1 }
            #expect(try await koppeling(["account", "lists", "Instituut"], alone).code == 0)
            #expect(try await koppeling(["account", "rekey"], settings).code == 1)

            let list = #"{"name": "Nieuwsbrief"}"#
            try await post(root + "/sandbox/lists", list)
            let linked = try await koppeling(["instance", "link", "Instituut"], alone)
            #expect(linked.code == 0, "\(linked.errors)")
            let status = try await koppeling(["instance", "status", "Nieuwsbrief", "--json"], alone)
            for part in [#""budget":3"#, #""own_calls_in_flight":0"#, #""waits_for_permit":false"#] {
                #expect(status.output.contains(part), "\(status.output)")
            }
            let used = try await koppeling(["account", "disconnect", "Instituut"], alone)
            #expect(used.code == 1 && used.errors.contains("instance"))
            try await TestDatabase.current.pool.execute("delete from koppeling.connector_instance")
            #expect(try await koppeling(["account", "disconnect", "Instituut"], alone).code == 0)
            let gone = try await koppeling(["account", "show", "Instituut"], alone)
            #expect(gone.code == 1 && gone.errors.contains("koppeling account list"))
        }
    }

    @Test func `by OAuth: the command waits for a browser, and says which account it is`() async throws {
        try await run { root, settings in
            let http = HTTPClient(allowPlaintext: true)
            defer { http.shutdown() }
            try await post(
                root + "/sandbox/apps",
                #"{"client_id": "4711", "client_secret": "5ecre75ecre7", "redirect_uri": "\#(Self.publicURL)/oauth/mailchimp/callback"}"#
            )
            let serve = try RunningProgram(
                ["serve"], settings.merging(["KOPPELING_LISTEN": "127.0.0.1:0", "LOG_LEVEL": "debug"]) { $1 })
            defer { serve.clean() }
            var port = ""
            try await eventually("it says where it listens", within: .seconds(30)) {
                port = try serve.errors().firstMatch(of: #/port=(\d+)/#).map { String($0.1) } ?? ""
                return !port.isEmpty
            }
            let command = try RunningProgram(["account", "connect", "--oauth", "--name", "Instituut"], settings)
            defer { command.clean() }
            var page = ""
            try await eventually("it prints the address", within: .seconds(30)) {
                page = try command.output().split(separator: "\n").first.map(String.init) ?? ""
                return page.hasPrefix(Self.publicURL + "/accounts/connect/") && page.count > 90
            }
            func inside(_ address: String) -> String {
                address.replacing(Self.publicURL, with: "http://127.0.0.1:\(port)")
            }

            let opened = try await http.send(HTTPRequest(url: inside(page)))
            let cookie = try #require(opened.header("Set-Cookie")?.prefix { $0 != ";" })
            let pressed = try await http.send(
                HTTPRequest(method: "POST", url: inside(page), headers: [("Cookie", String(cookie))], body: []))
            let asked = try await http.send(HTTPRequest(url: try #require(pressed.header("Location"))))
            let form = String(decoding: asked.body, as: UTF8.self).split(separator: "</form>")[0]
            let fields = form.matches(of: #/type="hidden" name="([^"]*)" value="([^"]*)"/#).map {
                "\($0.1)=\(String($0.2).addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "")"
            }
            let allowed = try await http.send(
                HTTPRequest(
                    method: "POST", url: root + "/oauth2/authorize",
                    headers: [("Content-Type", "application/x-www-form-urlencoded")],
                    body: Array((fields + ["answer=allow"]).joined(separator: "&").utf8)))
            let callback = inside(try #require(allowed.header("Location")))
            let back = try await http.send(HTTPRequest(url: callback, headers: [("Cookie", String(cookie))]))
            #expect(back.header("Location") == "/accounts/connect/result/1")

            try await eventually("the command ends", within: .seconds(30)) { !command.process.isRunning }
            #expect(command.process.terminationStatus == 0)
            #expect(try command.output().hasSuffix("\n1  Instituut  us1\n"))
            let code = try #require(URLComponents(string: callback)?.queryItems?.first { $0.name == "code" }?.value)
            let log = try serve.errors()
            #expect(log.contains("/oauth/mailchimp/callback") && !log.contains(code))
            #expect(try await koppeling(["account", "lists", "Instituut"], settings).code == 0)
        }
    }

    @Test func `an address that a browser cannot come back to is refused before anything is made`() async throws {
        for (url, words) in [("", "KOPPELING_PUBLIC_URL is not set"), ("http://localhost:8080", "write 127.0.0.1")] {
            let run = try await koppeling(
                ["account", "connect", "--oauth"],
                [
                    "DATABASE_URL": try TestDatabase.current.settings.connectionString(),
                    "KOPPELING_SECRET_KEY": Self.old, "KOPPELING_PUBLIC_URL": url,
                ])
            #expect(run.code == 1 && run.errors.contains(words), "\(run.errors)")
        }
    }
}
