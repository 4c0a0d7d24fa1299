import Foundation
import Testing

@testable import MailchimpSandbox

/// That `docs/sandbox.md` says what the code does.
@Suite struct DocumentationTests {
    private static let text: String? = {
        // A checkout may be reached by a link, beside which there are no documents.
        let here = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        let root = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        return try? String(contentsOf: root.appendingPathComponent("docs/sandbox.md"), encoding: .utf8)
    }()

    @Test("every switch is in the table, with what each preset sets it to")
    func switches() throws {
        let text = try #require(Self.text)
        let presets = [SandboxSwitches(), .permissive, .strict]
        for one in SandboxSwitches.names {
            let values = presets.map { "\($0[keyPath: one.path])" }.joined(separator: " | ")
            #expect(text.contains("\n| `\(one.name)` | \(values) | "), "\(one.name) | \(values)")
            #expect(!one.meaning.isEmpty)
        }
    }

    @Test("every effect of a fault and every field of its rule is named")
    func faults() throws {
        let text = try #require(Self.text)
        for effect in FaultEffect.allCases { #expect(text.contains("`\(effect.rawValue)`"), "\(effect)") }
        for name in Fault.Match.names { #expect(text.contains("`\(name)`"), "\(name)") }
    }

    @Test("the pauses before a webhook comes again are the ones given")
    func pauses() throws {
        let text = try #require(Self.text).replacing("\n", with: " ")
        let minutes = WebhookSchedule.faithful.map { String(Int($0 / .seconds(60))) }
        let list = minutes.dropLast().joined(separator: ", ") + " and " + (minutes.last ?? "")
        #expect(text.contains("after \(list) minutes: 75 minutes in all"))
    }
}
