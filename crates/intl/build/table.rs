//! The table that src/data.rs reads. All numbers are little-endian u32, but those that number a key, which are u16:
//! how many locales, keys, texts and entries there are; per locale its key's number, its parent and where its entries begin
//! (and one more that ends the last); where each key and each text ends; the entries' keys, then their texts, both sorted by
//! key within a locale; the bytes of the keys, then of the texts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Default)]
pub struct Table {
    /// By locale: what it says by itself, and whom it takes the rest from.
    locales: BTreeMap<String, (Option<String>, BTreeMap<String, String>)>,
}

pub const NO_PARENT: u32 = u32::MAX;

impl Table {
    pub fn add(&mut self, locale: &str, parent: Option<&str>, entries: BTreeMap<String, String>) {
        self.locales.insert(locale.into(), (parent.map(str::to_owned), entries));
    }

    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let mut keys: BTreeSet<&str> = self.locales.keys().map(String::as_str).collect();
        keys.extend(self.locales.values().flat_map(|(_, entries)| entries.keys().map(String::as_str)));
        if keys.len() > usize::from(u16::MAX) {
            return Err(format!("{} keys are more than the table can number", keys.len()));
        }
        let numbers: HashMap<&str, u16> = keys.iter().zip(0..).map(|(key, number)| (*key, number)).collect();
        let places: HashMap<&str, u32> =
            self.locales.keys().zip(0..).map(|(locale, place)| (locale.as_str(), place)).collect();

        let mut texts: Vec<&str> = Vec::new();
        let mut text_numbers: HashMap<&str, u32> = HashMap::new();
        let mut locale_rows: Vec<u32> = Vec::new();
        let mut entry_keys: Vec<u16> = Vec::new();
        let mut entry_texts: Vec<u32> = Vec::new();
        for (locale, (parent, entries)) in &self.locales {
            let parent = match parent {
                None => NO_PARENT,
                Some(parent) => {
                    *places.get(parent.as_str()).ok_or_else(|| format!("{locale} has no parent {parent}"))?
                }
            };
            locale_rows.extend([u32::from(numbers[locale.as_str()]), parent, entry_keys.len() as u32]);
            for (key, text) in entries {
                entry_keys.push(numbers[key.as_str()]);
                entry_texts.push(*text_numbers.entry(text).or_insert_with(|| {
                    texts.push(text);
                    texts.len() as u32 - 1
                }));
            }
        }

        let mut bytes = Vec::new();
        let mut put = |number: u32| bytes.extend(number.to_le_bytes());
        for count in [self.locales.len(), keys.len(), texts.len(), entry_keys.len()] {
            put(count as u32);
        }
        locale_rows.into_iter().for_each(&mut put);
        put(entry_keys.len() as u32);
        let mut end = 0;
        for text in keys.iter().chain(&texts) {
            end += text.len() as u32;
            put(end);
        }
        entry_texts.into_iter().for_each(&mut put);
        entry_keys.into_iter().for_each(|key| bytes.extend(key.to_le_bytes()));
        for text in keys.iter().chain(&texts) {
            bytes.extend(text.as_bytes());
        }
        Ok(bytes)
    }
}
