import Connector

/// What the pages about connecting an account say, in the reader's language.
struct ConnectTexts: Sendable {
    let language: PageLanguage

    var title: String { choose("Verbinden met Mailchimp", "Connect with Mailchimp") }

    var connected: String { choose("Verbonden met Mailchimp", "Connected with Mailchimp") }

    var failed: String { choose("Niet verbonden", "Not connected") }

    /// What is about to happen, and the button.
    func ask(renewing account: String?) -> String {
        let what =
            if let account {
                choose(
                    "Koppeling krijgt opnieuw toegang tot het Mailchimp-account <b>\(Page.escaped(account))</b>. Log bij "
                        + "Mailchimp in met dezelfde gebruiker als eerst.",
                    "Koppeling is given access again to the Mailchimp account <b>\(Page.escaped(account))</b>. Log in to "
                        + "Mailchimp as the same user as before.")
            } else {
                choose(
                    "Mailchimp vraagt u zo of Koppeling bij uw account mag. Koppeling houdt daarna uw lijsten bij, en "
                        + "verzendt zelf niets.",
                    "Mailchimp will ask you whether Koppeling may use your account. Koppeling then keeps your lists up to "
                        + "date, and sends no mail itself.")
            }
        return "<p>\(what)</p>\n<form method=\"post\"><button>\(title)</button></form>"
    }

    /// That it is done.
    func done(_ account: String, _ dataCentre: String) -> String {
        let which = "<b>\(Page.escaped(account))</b> (\(Page.escaped(dataCentre)))"
        return choose(
            "<p>Het account \(which) is verbonden. U kunt dit venster sluiten.</p>",
            "<p>The account \(which) is connected. You can close this window.</p>")
    }

    /// What went wrong and what to do.
    func sorry(_ failure: ConnectFailure) -> String {
        guard language == .dutch else {
            let sentence = failure.message
            return "<p>\(Page.escaped(sentence.prefix(1).uppercased() + sentence.dropFirst())).</p>"
        }
        return "<p>\(Page.escaped(Self.dutch(failure.reason, failure.account ?? "")))</p>"
    }

    private static func dutch(_ reason: ConnectFailure.Reason, _ account: String) -> String {
        switch reason {
        case .unknownTicket:
            "Dit adres hoort bij geen verbinding. Voer `koppeling account connect --oauth` uit en open het adres dat dan "
                + "verschijnt."
        case .expired: "De tien minuten zijn voorbij. Voer de opdracht opnieuw uit."
        case .used: "Dit adres heeft zijn werk gedaan. Voer de opdracht opnieuw uit voor een nieuw adres."
        case .wrongBrowser:
            "Dit adres is eerder in een andere browser geopend. Ga daar verder, of voer de opdracht opnieuw uit."
        case .unknownState:
            "Op dit antwoord van Mailchimp wordt niet gewacht, of het kwam twee keer. Begin opnieuw bij het adres dat de "
                + "opdracht liet zien."
        case .denied: "Bij Mailchimp is geen toegang gegeven. Voer de opdracht opnieuw uit en kies Allow."
        case .noCode: "Mailchimp stuurde de browser zonder code terug. Voer de opdracht opnieuw uit."
        case .codeRefused:
            "Mailchimp nam zijn eigen code niet aan; die geldt één keer, tien minuten lang. Voer de opdracht opnieuw uit."
        case .appRefused:
            "Mailchimp kent dit programma niet. Vergelijk MAILCHIMP_CLIENT_ID, MAILCHIMP_CLIENT_SECRET en de redirect URI "
                + "met de app die bij Mailchimp is aangemeld."
        case .notConfigured:
            "Hier kan nog niet met Mailchimp worden verbonden. Stel MAILCHIMP_CLIENT_ID, MAILCHIMP_CLIENT_SECRET, "
                + "KOPPELING_PUBLIC_URL en KOPPELING_SECRET_KEY in."
        case .badToken: "Mailchimp gaf een toegangsbewijs dat niets opent. Voer de opdracht opnieuw uit."
        case .noAnswer: "Mailchimp gaf geen antwoord. Voer de opdracht over een paar minuten opnieuw uit."
        case .keyRefused:
            "Mailchimp accepteert deze sleutel niet. Maak daar een nieuwe, onder Account, Extras, API keys."
        case .alreadyConnected:
            "Deze gebruiker is al verbonden, als account '\(account)'. Gebruik `koppeling account renew` met die naam om "
                + "opnieuw toegang te geven."
        case .otherLogin:
            "Deze toegang is van een andere gebruiker dan die van account '\(account)'. Log bij Mailchimp in met de juiste "
                + "gebruiker, of verbind de andere met `koppeling account connect`."
        case .nameTaken: "Er is al een account '\(account)'. Geef dit account een andere naam met --name."
        }
    }

    private func choose(_ dutch: String, _ english: String) -> String { language == .dutch ? dutch : english }
}
