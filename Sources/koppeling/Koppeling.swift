import ArgumentParser

/// The command-line program: reads settings, puts the modules together, runs one command.
@main
struct Koppeling: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "koppeling",
        abstract: "Keeps Mailchimp audiences in step with target groups in PostgreSQL.",
        discussion:
            "Settings are environment variables; the README lists them. Without DATABASE_URL the program runs a "
            + "private PostgreSQL in the folder KOPPELING_HOME (.koppeling).",
        subcommands: [
            Demo.self, Up.self, Migrate.self, Serve.self, Work.self, Doctor.self,
            AccountCommand.self, InstanceCommand.self, MergeFieldCommand.self,
            PersonCommand.self, CompanyCommand.self, PositionCommand.self, CategoryCommand.self, ValueCommand.self,
            GroupCommand.self, RuleCommand.self, Why.self, PlanCommand.self, ActionCommand.self, TaskCommand.self,
            Enqueue.self, JobsCommand.self, QueueCommand.self, LimitCommand.self, ScheduleCommand.self,
            TokenCommand.self, EnvironmentCommand.self,
            Bench.self, ChaosCommand.self, ChaosWorkerCommand.self, SyncWorkerCommand.self,
        ])

    static func main() async {
        // A reader that goes away, such as `head`, ends the program like any other failed write.
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            Failure(error).exit()
        }
    }
}
