import ArgumentParser
import Connector

extension InstanceCommand {
    struct ReactivateOnResubscribe: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "reactivate-on-resubscribe",
            abstract: "Let in again whoever signs up again in Mailchimp after a no, or with --off only by a user.",
            discussion: """
                It is off at first: a task tells of whoever signed up again, and koppeling group readmit lets in. A \
                complaint, a no that was said later, and a no at another address stand in any case.
                """)

        @Argument(help: "The instance's name or number.")
        var instance: String

        @Flag(help: "Leave it to a user.")
        var off = false

        func run() async throws {
            try await LinkServices.with { runtime, services in
                try await services.instances.setReactivation(!off, instance: instance, actor: runtime.actor)
            }
        }
    }
}
