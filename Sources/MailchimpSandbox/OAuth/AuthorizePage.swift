/// The pages on which a user gives an app access.
enum AuthorizePage {
    /// Asks every user of the sandbox: a form each, which carries what the app asked for.
    static func ask(_ request: [(name: String, value: String)], of accounts: [Account]) -> String {
        let hidden = request.map { field in
            #"<input type="hidden" name="\#(escaped(field.name))" value="\#(escaped(field.value))">"#
        }.joined()
        let forms = accounts.flatMap { account in
            account.users.map { user in
                """
                <form method="post" action="/oauth2/authorize">\(hidden)
                <input type="hidden" name="user" value="\(escaped(user.id))">
                <p>\(escaped(user.name)), \(user.role.rawValue) of \(escaped(account.name)) (\(account.dataCentre))
                <button name="answer" value="allow">Allow</button>
                <button name="answer" value="deny">Deny</button></p></form>
                """
            }
        }
        return page("May this app use your account?", forms.joined(separator: "\n"))
    }

    /// Says why nobody is asked: the app cannot be trusted with an answer.
    static func refuse(_ reason: String) -> String {
        page("This request cannot be allowed", "<p>\(escaped(reason))</p>")
    }

    private static func page(_ title: String, _ body: String) -> String {
        """
        <!doctype html><html lang="en"><head><meta charset="utf-8"><title>\(title)</title></head>
        <body><h1>\(title)</h1>
        \(body)
        </body></html>
        """
    }

    static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;").replacing("'", with: "&#39;")
    }
}
