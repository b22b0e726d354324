//! The demo on a terminal.

use std::time::Instant;

use anyhow::Result;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Gauge, List, Paragraph, Row, Table};

use super::is_over;
use super::scene::{MinerView, Scene};
use crate::amount;
use crate::shutdown::Shutdown;

const GOLD: Color = Color::Rgb(247, 147, 26);

/// Epochs in the table.
const EPOCHS_SHOWN: u32 = 6;

/// Plays until `end`. The terminal is as before when this returns, also after an error.
pub fn play(scene: &mut Scene, shutdown: &Shutdown, end: Instant) -> Result<()> {
    let mut terminal = ratatui::try_init()?;
    let result = loop {
        let over = is_over(scene, shutdown, end);
        scene.catch_up();
        if let Err(error) = terminal.draw(|frame| draw(frame, scene, end)) {
            break Err(error.into());
        }
        if over {
            break Ok(());
        }
    };
    ratatui::restore();
    result
}

fn draw(frame: &mut Frame<'_>, scene: &Scene, end: Instant) {
    let [title, miners, middle, news] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(8),
        Constraint::Length(10),
        Constraint::Min(4),
    ])
    .areas(frame.area());
    draw_title(frame, title, scene, end);
    let views = scene.miner_views();
    let columns = Layout::horizontal(vec![Constraint::Fill(1); views.len()]).split(miners);
    for (view, area) in views.iter().zip(columns.iter()) {
        draw_miner(frame, *area, view);
    }
    let [pool, epochs] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(middle);
    draw_pool(frame, pool, scene);
    draw_epochs(frame, epochs, scene);
    draw_news(frame, news, scene);
}

fn panel(title: impl Into<String>) -> Block<'static> {
    Block::bordered().border_type(BorderType::Rounded).border_style(Style::new().fg(Color::DarkGray)).title(
        Span::styled(format!(" {} ", title.into()), Style::new().fg(GOLD).add_modifier(Modifier::BOLD)),
    )
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, scene: &Scene, end: Instant) {
    let left = end.saturating_duration_since(Instant::now()).as_secs();
    let text = Line::from(vec![
        Span::raw(format!("height {}   ", scene.height())),
        Span::raw(format!("a block every {} million hashes   ", scene.block_hashes / 1_000_000)),
        Span::styled(format!("{left} s left"), Style::new().fg(Color::DarkGray)),
    ]);
    frame.render_widget(Paragraph::new(text).block(panel("assay demo: a pool without accounts")), area);
}

fn draw_miner(frame: &mut Frame<'_>, area: Rect, view: &MinerView) {
    let stats = &view.stats;
    let share = stats.target.map_or_else(String::new, |target| amount::grouped(target.expected_hashes()));
    let field = |name: &'static str, value: String| {
        Line::from(vec![
            Span::styled(format!("{name:<10}"), Style::new().fg(Color::DarkGray)),
            Span::raw(value),
        ])
    };
    let lines = vec![
        field("state", stats.state_text.clone()),
        field("hash rate", stats.hash_rate.to_string()),
        field("a share", format!("every {share} hashes")),
        field("shares", format!("{} accepted, {} rejected", stats.shares_accepted, stats.shares_rejected)),
        field("blocks", stats.blocks_found.to_string()),
        Line::from(vec![
            Span::styled(format!("{:<10}", "eHash"), Style::new().fg(Color::DarkGray)),
            Span::styled(amount::ehash(view.credited), Style::new().fg(GOLD).add_modifier(Modifier::BOLD)),
        ]),
    ];
    let title = format!("{}, {} channel", view.name, view.channel);
    frame.render_widget(Paragraph::new(lines).block(panel(title)), area);
}

fn draw_pool(frame: &mut Frame<'_>, area: Rect, scene: &Scene) {
    let (totals, books) = (scene.totals(), scene.books());
    let [text, gauge] = Layout::vertical([Constraint::Min(0), Constraint::Length(3)]).areas(area);
    let lines = vec![
        Line::raw(format!("channels  {}", totals.channels)),
        Line::raw(format!(
            "shares    {} accepted, {} rejected",
            totals.shares_accepted, totals.shares_rejected
        )),
        Line::raw(format!("blocks    {} found, {} accepted", totals.blocks_found, totals.blocks_accepted)),
        Line::raw(format!("rewards   {}", amount::sats(books.rewards))),
        Line::raw(format!("journal   {} rows, each on disk before its answer", books.journal_rows)),
    ];
    frame.render_widget(Paragraph::new(lines).block(panel("pool")), text);
    let permille = u128::from(books.filled.get()) * 1000 / u128::from(books.epoch_size.get().max(1));
    let percent = u16::try_from(permille / 10).unwrap_or(100).min(100);
    let filling = Gauge::default()
        .block(panel(format!("epoch {} fills by work alone", books.open_epoch)))
        .gauge_style(Style::new().fg(GOLD))
        .percent(percent);
    frame.render_widget(filling, gauge);
}

fn draw_epochs(frame: &mut Frame<'_>, area: Rect, scene: &Scene) {
    let rows: Vec<Row<'_>> = scene
        .epochs(EPOCHS_SHOWN)
        .into_iter()
        .rev()
        .map(|epoch| {
            Row::new([
                epoch.epoch.to_string(),
                epoch.state.name().to_owned(),
                amount::grouped(epoch.credited.get().into()),
                amount::sats(epoch.pot),
            ])
        })
        .collect();
    let widths = [Constraint::Length(6), Constraint::Length(11), Constraint::Length(21), Constraint::Fill(1)];
    let table = Table::new(rows, widths)
        .header(Row::new(["epoch", "state", "eHash", "pot"]).style(Style::new().fg(Color::DarkGray)))
        .block(panel("epochs"));
    frame.render_widget(table, area);
}

fn draw_news(frame: &mut Frame<'_>, area: Rect, scene: &Scene) {
    let room = usize::from(area.height.saturating_sub(2));
    let skip = scene.news.len().saturating_sub(room);
    let lines = scene.news.iter().skip(skip).map(String::as_str);
    frame.render_widget(List::new(lines).block(panel("news")), area);
}
