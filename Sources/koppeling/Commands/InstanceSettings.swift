import ArgumentParser
import Connector

/// The instance that a setting is turned on at, or with `--off` turned off.
struct InstanceSwitch: ParsableArguments {
    @Argument(help: "The instance's name or number.")
    var instance: String

    @Flag(help: "Turn it off again.")
    var off = false

    func turn(_ setting: Instances.Setting) async throws {
        try await LinkServices.with { runtime, services in
            try await services.instances.set(setting, to: !off, instance: instance, actor: runtime.actor)
        }
    }
}

extension InstanceCommand {
    struct DryRun: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "dry-run", abstract: "Let an instance only show its actions, or with --off carry them out.")

        @OptionGroup var which: InstanceSwitch

        func run() async throws { try await which.turn(.dryRun) }
    }

    struct ReactivateOnResubscribe: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "reactivate-on-resubscribe",
            abstract: "Let in again whoever signs up again in Mailchimp after a no, or with --off only by a user.",
            discussion: """
                It is off at first: a task tells of whoever signed up again, and koppeling group readmit lets in. A \
                complaint, a no that was said later, and a no at another address stand in any case.
                """)

        @OptionGroup var which: InstanceSwitch

        func run() async throws { try await which.turn(.reactivateOnResubscribe) }
    }

    struct KeepAdopted: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "keep-adopted",
            abstract: "Let whoever was in the list before us stay there on leaving the group; with --off, archive him.",
            discussion: "It is off at first. Who left while it was on stays in the list when it is turned off.")

        @OptionGroup var which: InstanceSwitch

        func run() async throws { try await which.turn(.keepAdopted) }
    }
}
