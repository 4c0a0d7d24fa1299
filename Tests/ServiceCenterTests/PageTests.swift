import Connector
import HTTPClient
import TestSupport
import Testing

@testable import ServiceCenter

@Suite("Pages", .database)
struct PageTests {
    @Test(
        arguments: [
            (nil, PageLanguage.dutch), ("", .dutch), ("nl-NL,nl;q=0.9,en;q=0.8", .dutch),
            ("en-US,en;q=0.9,nl;q=0.8", .english),
            ("de,fr;q=0.8", .dutch), ("de,en;q=0.3", .english), ("en;q=0", .dutch), ("en;q=x,nl;q=0.1", .dutch),
            ("EN", .english), ("nl;q=0.2,en;q=0.7", .english),
        ] as [(String?, PageLanguage)])
    func theLanguageIsTheBrowsers(header: String?, language: PageLanguage) {
        #expect(PageLanguage(accepting: header) == language)
    }

    @Test func everyFailureHasAPageInBothLanguages() {
        var seen: Set<String> = []
        for language in PageLanguage.allCases {
            for reason in ConnectFailure.Reason.allCases {
                let text = ConnectTexts(language: language).sorry(ConnectFailure(reason, account: "Naam"))
                #expect(seen.insert(text).inserted, "a text of its own")
                #expect(text.hasSuffix(".</p>") && text.count > 40)
            }
        }
    }

    @Test func nothingFromOutsideBecomesMarkup() {
        #expect(Page.escaped(#"<a href="x">&'</a>"#) == "&lt;a href=&quot;x&quot;&gt;&amp;&#39;&lt;/a&gt;")
        let asked = ConnectTexts(language: .dutch).ask(renewing: "<script>")
        #expect(asked.contains("&lt;script&gt;") && !asked.contains("<script>"))
    }

    @Test(arguments: [("nl", "oefenomgeving"), ("en", "training environment")])
    func everyPageOfATrainingSaysSoInTheReadersLanguage(language: String, words: String) async throws {
        let pages = ["/accounts/connect/x", "/accounts/connect/result/1", "/accounts/connect/problem/denied"]
        for isTraining in [true, false] {
            try await withServiceCenter(isTraining: isTraining) { door in
                for page in pages {
                    let html = try await door.send("GET", page, headers: [("Accept-Language", language)]).text
                    #expect(html.contains("<html lang=\"\(language)\">"))
                    let opening = try #require(html.split(separator: "<h1>").first)
                    #expect(opening.contains("<aside aria-label=\"Training\">") == isTraining, "\(page)")
                    #expect(opening.contains(words) == isTraining, "\(page)")
                    #expect(opening.contains("<title>Training: ") == isTraining, "\(page)")
                }
            }
        }
    }
}
