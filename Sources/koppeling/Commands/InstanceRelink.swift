import ArgumentParser
import Connector

extension InstanceCommand {
    struct Relink: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a link that is off another list; the group, its rules and its members stay.",
            discussion: """
                Whoever said no to the old list is barred from the new one. Contacts in the old list stay as they are. \
                The link stays off; its first changes wait in a plan. What is said in the old list from then on is not \
                heard any more.
                """)

        @Argument(help: "The instance's name or number.")
        var instance: String

        @Option(help: "The new list's id or exact name.")
        var list: String

        @Option(help: "The account whose list it is; the link's account of now without.")
        var account: String?

        @Flag(help: "Make the merge fields FNAME and LNAME where the list has none.")
        var makeFields = false

        @Flag(help: "Go on although the old list cannot be read: a no said there lately is found once it can be.")
        var unread = false

        func run() async throws {
            try await LinkServices.with { runtime, services in
                var owner: Accounts.Account?
                if let account { owner = try await services.accounts.find(account) }
                Self.tell(
                    try await services.instances.relink(
                        instance: instance, account: owner, list: list, makesFields: makeFields, acceptsUnread: unread,
                        actor: runtime.actor))
            }
        }

        private static func tell(_ relinked: Instances.Relinked) {
            let name = relinked.instance.name
            Console.line("\(relinked.instance.id)  \(name)  \(relinked.instance.targetGroup)")
            let left = relinked.left.counted("contact of ours", "contacts of ours")
            switch relinked.oldList {
            case .gone: Console.line("The old list is gone in Mailchimp.")
            case .read: Console.line("The old list keeps \(left), subscribed as before.")
            case .unread:
                Console.line(
                    "The old list could not be read: a no said there lately is not known before it can be. It keeps \(left)."
                )
            }
            let noes = relinked.noes.counted("address that said no is", "addresses that said no are")
            Console.line("\(noes) barred from the new list.")
            Console.line("Turn it on, and it reads the new list: koppeling instance enable \"\(name)\"")
            if let plan = relinked.plan, let version = relinked.version {
                Console.line(
                    "Then approve its plan of \((relinked.joins ?? 0).counted("person")): koppeling plan approve \(plan) --plan-version \(version)"
                )
            }
        }
    }
}
